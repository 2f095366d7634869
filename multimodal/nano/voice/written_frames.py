"""Sentence frames of the normalisation data: what stands around a written form, for each way to read it.

One table a group of forms that look alike: lines of `rule: frame | frame | ...`. `{x}` is the form, other
braces take a word of that category. Every third frame is held out, and every third word of a category: a
held-out sentence shares with training only the rules, the numbers, {mid} and the small words of its frame.
Most categories are of nano's world, which its core knows; people's and places' names are outside of it.
"""

WORDS = {
    "country": """France Germany Italy Spain Portugal Austria Poland Hungary Romania Greece Sweden Norway Finland
        Denmark
        Ukraine Russia Turkey Iran Iraq India Pakistan China Japan Vietnam Thailand Indonesia Australia Canada Mexico
        Brazil Argentina Peru Cuba Egypt Morocco Nigeria Kenya Ethiopia""",
    "city": """Ottawa Brasilia Lima Havana Cairo Rabat Abuja Nairobi Paris Berlin Rome Madrid Lisbon Amsterdam
        Vienna Bern
        Warsaw Prague Budapest Bucharest Athens Stockholm Oslo Helsinki Copenhagen London Kyiv Moscow Ankara Tehran
        Baghdad Beijing Tokyo Seoul Hanoi Bangkok Jakarta Canberra""",
    "month": "January February March April May June July August September October November December",
    "weekday": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "language": """Arabic Bengali Chinese Czech Dutch English Finnish French German Greek Hindi Hungarian Italian
        Japanese
        Korean Persian Polish Portuguese Russian Spanish Swedish Thai Turkish Vietnamese""",
    "colour": "red blue green yellow purple orange black white",
    "shapes": "circles squares triangles stars crosses rings",
    "animals": "dogs cats cows horses lions tigers birds frogs spiders bees crows sheep",
    "fruits": "apples lemons bananas plums tomatoes carrots strawberries oranges",
    "drink": "tea coffee milk water juice honey sugar",
    "vehicles": "buses cars trains trucks taxis bicycles",
    "furniture": "chairs tables beds clocks books",
    "name": """Mary John Peter Anna King Lee Paul Luke Grant Hill Baker Stone Wood Cole Reed Hart Nash Ford Dean
        Marsh Lane
        Brook Lake Bell Ross Gray Webb Shaw Burke Doyle""",
    "ruler": "Henry Louis Charles George Edward Philip Frederick William James Elizabeth Catherine Alexander",
    "part": "Chapter Part Act Book Volume Scene Section Step Level Phase Type Unit",
    "doing": """waited slept sang worked played stayed danced walked swam rested""",
    "mid": "big | old | very small | really big and happy | slow old and very quiet | fast new and not too big",
}

LEADS = """ | | | | | Well, | Hello, | Yes, | I think | As you know, | We read that | Please look: | Today | They say |
    In short, | My answer is short: | Let me say it again: | What we know is this:"""
TAILS = """ | | | | , thank you | , I think | , and that is all | , as you know | , they say | , if it is not too late |
    , and the night is dark | , but it is early"""

FRAMES = {
    "four digits": """
        year: {city}, {x} | It began in {x} | the winter of {x} was cold | since {x} it is open | {country} {x}
            | In {x} {mid} {animals} lived in {country} | born in {city} in {x} | the {language} books of {x}
            | {month} {x} | until {x} nobody spoke {language} | the {country} of {x} | in {month} of {x} snow fell
            | a map of {city} ({x}) | In {x} {city} was small | from {x} on it was rich
        cardinal: {animals}: {x} | There are {x} {mid} {fruits} | they have {x} {vehicles}
            | In {x} {mid} {furniture} there is light | {x} {shapes} are {colour} | {fruits}, {x} | a total of {x}
            | we saw {x} of the {animals} | more than {x} {furniture} | {vehicles} ({x})
            | In {x} of the {vehicles} it was cold | {x} {mid} {animals} {doing} | about {x} {colour} {shapes}
            | the number of {animals} is {x} | it costs {x} {fruits}
        digits: the code is {x} | my PIN is {x} | password {x} | type {x} to open it
            | the number on the {colour} key is {x} | lock {x} | use code {x} for the {furniture}
            | ticket {x} of {name} | flight {x} to {city}
    """,
    "slash": """
        date: on {x} it was dark | {weekday}, {x} | {weekday} {x} is a good day | see you on {x}
            | the train of {x} to {city} | open until {x} | from {weekday} ({x}) on | {city}, {x}
            | by {x} we go to {country} | {x} is a {weekday} | {name} was born on {x} | {x} is after {mid} {weekday}
        fraction: {x} of the {shapes} are {colour} | take {x} cup of {drink} | {drink}: {x}
            | {x} {drink} and no more | {x} of a {mid} day | about {x} of the {animals} {doing}
            | add {x} of the {fruits} | {drink}, {x} | only {x} of {country} is {colour} | cut {x} of it
            | {x} more {drink} | they sold {x} of all {vehicles}
        out of: I got {x} right | the score is {x} points | {name} gives it {x} points
            | the {language} test: {x} right | my mark is {x} | a mark of {x} for {name} | rated {x} by {name}
            | {x} points for the {furniture} | {x} answers right
    """,
    "dash": """
        range: it takes {x} days | {animals}: {x} | for {x} hours | about {x} {fruits} | pages {x}
            | {x} {mid} {vehicles} | wait {x} minutes | {x} of the {shapes} are {colour}
            | between {x} {animals} {doing}
        score: {country} beat {country} {x} | {country} {x} {country} | {city} won {x} | they lost {x}
            | {city} - {city}: {x} | the game ended {x} | {country}, {x} | a {x} win of {country}
            | {name} lost {x} to {name}
        minus: {x} is a number | what is {x}? | how much is {x}? | {x} makes what? | the answer to {x}
            | say what {x} gives | {x} equals what? | work out {x} | the sum {x} is easy
        phone: call {p} | my number is {p} | {name}: {p} | phone {p} | {name} is at {p} | ring {p} on {weekday}
            | dial {p} | reach {name} on {p} | for {drink} call {p}
        range: {w} {animals} | about {w} {mid} {vehicles} | {w} people | {fruits}: {w} | pages {w}
            | from {w} {furniture} a day
    """,
    "colon": """
        time: at {x} | the train to {city} leaves at {x} | {weekday}, {x} | it is {x} in {city} | {weekday} at {x}
            | until {x} | {city} {x} | {x} is early for {mid} {weekday} | before {x} we {doing} | come by {x}
            | {x} on {weekday} | wake me at {x}
        ratio: mix {drink} and {drink} {x} | a ratio of {x} | {colour} to {colour} is {x}
            | {animals} to {vehicles}: {x} | {x} {colour} and {colour} | the odds are {x} | {drink}, {drink}, {x}
            | the {shapes} stand {x} to the {animals} | {fruits} and {drink} {x}
        duration: the song is {x} long | {name} ran it in {x} | a clip of {x} | {name} needed {x}
            | the clip lasts {x} | {name}, {x}, was first | it took {x} to run | a {language} song ({x})
            | swam in {x}
    """,
    "dot": """
        decimal: about {x} | {drink}: {x} | {x} cups of {drink} | it weighs {x} | on average {x} {animals}
            | a mean of {x} | {x} {mid} {fruits} | {x} percent of {country} | roughly {x} times
        version: section {x} | version {x} | see {x} in the book | chapter {x} | nano {x} is new | update to {x}
            | point {x} of the list | release {x} | rule {x} of {name}
        time: at {x} | {weekday} {x} | until {x} it is dark | {city}, {x} | come at {x} on {weekday}
            | {x} is early on {mid} {weekday} | by {x} we {doing} | bus to {city}: {x} | wake at {x}
    """,
    "place": """
        abbreviation: {a} {name} {doing} | in {a} {name} | near {a} {name} | I met {name} and {a} {name}
            | {name}, {a} {name} | for {a} {name} {country} is far | with {a} {name} | to {a} {name} it is late
            | by {a} {name}
        other abbreviation: on {name} {a} {mid} {animals} {doing} | {name} {a} is long | at 5 {name} {a}
            | {name} {a} | the {name} {a} bus | behind {name} {a} {name} {doing} | from {name} {a} to {city}
            | {name} {a} in {city} | down {name} {a}
    """,
    "roman": """
        roman: {part} {r} | {part} {r} is short | read {part} {r} | World War {r} | in {part} {r} {name} {doing}
            | see {part} {r} | {part} {r} of the {language} book | after {part} {r} | {part} {r} was {mid}
        roman ordinal: {ruler} {r} | King {ruler} {r} | Queen {ruler} {r} of {country} | under {ruler} {r}
            | {ruler} {r} {doing} | {ruler} {r} was {mid} | the {language} {ruler} {r} | the time of {ruler} {r}
            | {ruler} {r} ruled {country}
        letters: an {r} line | the {r} bag is empty | press {r} twice | the letters {r} | an {r} drip for {name}
            | spell {r} | the mark {r} on the {furniture} | write {r} here | sign {r}
    """,
    "with letter": """
        measure: {country} sold {s} {fruits} | {s} people | about {s} | {city} has {s} {vehicles} | a plan for {s}
            | {s} {animals} a year | the {furniture} cost {s} | more than {s} in {country} | {s} books in {language}
        seat: seat {s} | gate {s} | row {s}, please | {name} sits in {s} | bus {s} to {city} | room {s}
            | platform {s} for {city} | go to door {s} | flat {s}, {name}
    """,
    "unit or word": """
        measure: it is {u} long | {u} wide | the {shapes} are {u} high | cut {u} off | {u} of {colour} paper
            | only {u} of it | a gap of {u} | {u} deep | about {u} of snow
        word: {v} {city} | {v} {month} | {v} {mid} {furniture} | {v} {country} {doing} | only {v} the {colour} room
            | {v} {language} | {v} the {vehicles} | {v} all of {country} | {v} every {weekday}
    """,
    "day": """
        ordinal: {month} {d} | on {month} {d} | {month} {d} is a {weekday} | {weekday}, {month} {d} | by {month} {d}
            | until {month} {d} | since {month} {d} it is open | {month} {d}, {y} | {name} was born on {month} {d}
        day: {d} {month} | on {d} {month} | {weekday} {d} {month} | {d} {month} is a {weekday} | from {d} {month} on
            | by {d} {month} | {d} {month} {y} | until {d} {month} | since {d} {month} it is cold
        cardinal: {d} {animals} | in {month} {d} {animals} {doing} | {d} {mid} {fruits} | {month}: {d} {vehicles}
            | {weekday} {d} {furniture} | all {d} {shapes} | {d} {month} days
            | this {month} {d} {colour} {vehicles} came | {name} has {d} {fruits}
    """,
    "three digits": """
        digits: room {t} | code {t} | call {t} | bus {t} to {city} | {name} lives in room {t} | the number is {t}
            | dial {t} | area code {t} | line {t}
        cardinal: {t} {animals} | {fruits}: {t} | about {t} {mid} {vehicles} | page {t} | {t} people in {city}
            | {t} {colour} {shapes} | {t} of the {furniture} | {t} hours | a total of {t}
    """,
    "short word": """
        abbreviation: {n} 5 is {colour} | house {n} 12 | {n} 3 of the {language} books | {n} 7 in {country}
            | {n} 4, please | {n} 2 and {n} 9
        verbatim: is it {colour}? {N} | {N} It is {colour} | {N} {month} is cold
            | {N} 5 is not enough, {mid} {animals} are | {N} Not today | {N} I do not speak {language}
        abbreviation: {k} at 10 | open {k} and {k} | on {k} we {doing} | {k}, {city} | from {k} on
            | every {k} in {city}
        verbatim: the {K} is {colour} | {name} {K} {doing} | {K} is yellow | they {K} down | the {K} over {city}
            | a {K} of {colour}
    """,
    "money": """
        money: it costs {m} | {name} paid {m} | {m} for {fruits} | a {colour} bed for {m} | {m} a day
            | {country} owes {m} | the {furniture}: {m} | {city} spent {m} | tickets are {m}
    """,
    "plain": """
        other: the {o} of {month} | {q} of {country} | the {z} in {city} | {l} of {country} | {g} more {fruits}
            | see {h} for it | {name} {j} {name} | on {i} it began | the {o} {mid} day | {q} more {drink}
            | music of the {z} | a {l} from {country} | {g} {mid} {animals} | write to {h} | {fruits} {j} {drink}
            | {weekday}, {i}
    """,
}
