"""What the rules know by heart: abbreviations, currencies, units and signs, most of it English."""

_ABBREVIATIONS = """
mr=mister mrs=missus ms=miss jr=junior sr=senior prof=professor gov=governor sgt=sergeant capt=captain
lt=lieutenant col=colonel gen=general sen=senator rep=representative rev=reverend hon=honorable etc=et_cetera
vs=versus approx=approximately dept=department est=established inc=incorporated ltd=limited corp=corporation
ave=avenue blvd=boulevard rd=road hwy=highway apt=apartment mt=mount fig=figure vol=volume eg=for_example
ie=that_is jan=January feb=February mar=March apr=April jun=June jul=July aug=August sep=September sept=September
oct=October nov=November dec=December mon=Monday tue=Tuesday tues=Tuesday wed=Wednesday thu=Thursday thurs=Thursday
fri=Friday sat=Saturday sun=Sunday no=number
st=Saint|Street dr=Doctor|Drive ft=Fort|feet co=County|Company pt=Point|part sec=Section|seconds
min=minimum|minutes in=inches pl=Plaza|Place
"""
# abbreviation -> its readings; a second one stands behind what it belongs to, or is a unit
ABBREVIATIONS: dict[str, tuple[str, ...]] = {
    short: tuple(reading.replace("_", " ") for reading in readings.split("|"))
    for short, readings in (pair.split("=") for pair in _ABBREVIATIONS.split())
}

CURRENCIES = {"$": "USD", "£": "GBP", "€": "EUR", "¥": "JPY", "₹": "INR", "USD": "USD", "EUR": "EUR", "GBP": "GBP"}
MINOR_COINS = {  # one, many; the coin, the coins
    "USD": ("dollar", "dollars", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"),
    "EUR": ("euro", "euros", "cent", "cents"),
    "JPY": ("yen", "yen", "sen", "sen"),
    "INR": ("rupee", "rupees", "paisa", "paise"),
}
SCALES = {"K": "thousand", "k": "thousand", "M": "million", "B": "billion", "T": "trillion"} | {
    name: name for name in ("hundred", "thousand", "million", "billion", "trillion")
}

_UNITS = """
km=kilometer m=meter cm=centimeter mm=millimeter mi=mile ft=foot in=inch yd=yard kg=kilogram g=gram mg=milligram
lb=pound lbs=pound oz=ounce t=metric-ton l=liter L=liter ml=milliliter h=hour hr=hour hrs=hour min=minute s=second
ms=millisecond km/h=kilometer-per-hour mph=mile-per-hour °C=celsius °F=fahrenheit °=degree %=percent Hz=hertz
kHz=kilohertz MHz=megahertz GHz=gigahertz W=watt kW=kilowatt V=volt GB=gigabyte MB=megabyte kB=kilobyte ha=hectare
"""
UNITS: dict[str, str] = dict(pair.split("=") for pair in _UNITS.split())  # as written -> its name in CLDR

SIGNS = {"&": "and", "+": "plus", "=": "equals", "%": "percent", "@": "at", "#": "number", "°": "degrees", "×": "times"}
ADDRESS_SIGNS = {".": "dot", "@": "at", "/": "slash", ":": "colon", "-": "dash", "_": "underscore"}

# "23 in" is said as inches in front of the first, never in front of the second; both lists are of English
AFTER_INCHES = ("long", "wide", "high", "tall", "deep", "thick", "across", "apart", "of", "by")
AFTER_THE_WORD_IN = tuple("a an the my your his her our their this that these those each every all one total".split())
