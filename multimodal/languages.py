"""The 34 languages that the speech part is prompted with, and what each is called elsewhere."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """A language: its English name, its codes, its script and how its recognition is scored."""

    name: str
    code: str  # ISO 639-1, also the CLDR locale
    fleurs: str  # the configuration name of the FLEURS data set
    espeak: str  # the voice of espeak-ng
    script: str  # as the Unicode character names begin
    uses_character_error: bool = False  # scored by characters, not words: no spaces between words (paper 8)


_ROWS = """
Arabic ar ar_eg ar ARABIC
Bengali bn bn_in bn BENGALI
Chinese zh cmn_hans_cn cmn CJK characters
Czech cs cs_cz cs LATIN
Dutch nl nl_nl nl LATIN
English en en_us en-us LATIN
Finnish fi fi_fi fi LATIN
French fr fr_fr fr LATIN
German de de_de de LATIN
Greek el el_gr el GREEK
Gujarati gu gu_in gu GUJARATI
Hindi hi hi_in hi DEVANAGARI
Hungarian hu hu_hu hu LATIN
Indonesian id id_id id LATIN
Italian it it_it it LATIN
Japanese ja ja_jp ja KANA characters
Kannada kn kn_in kn KANNADA
Korean ko ko_kr ko HANGUL characters
Malayalam ml ml_in ml MALAYALAM
Marathi mr mr_in mr DEVANAGARI
Persian fa fa_ir fa ARABIC
Polish pl pl_pl pl LATIN
Portuguese pt pt_br pt-br LATIN
Romanian ro ro_ro ro LATIN
Russian ru ru_ru ru CYRILLIC
Spanish es es_419 es LATIN
Swahili sw sw_ke sw LATIN
Swedish sv sv_se sv LATIN
Tamil ta ta_in ta TAMIL
Telugu te te_in te TELUGU
Thai th th_th th THAI characters
Turkish tr tr_tr tr LATIN
Urdu ur ur_pk ur ARABIC
Vietnamese vi vi_vn vi LATIN
"""


def _read_rows() -> tuple[Language, ...]:
    rows = [row.split() for row in _ROWS.strip().splitlines()]
    return tuple(Language(*row[:5], uses_character_error=row[5:] == ["characters"]) for row in rows)


LANGUAGES = _read_rows()
_BY_KEY = {key.lower(): language for language in LANGUAGES for key in (language.name, language.code)}


def find_language(name_or_code: str) -> Language:
    """The language with this English name or ISO 639-1 code, in any case; ValueError for any other."""
    try:
        return _BY_KEY[name_or_code.strip().lower()]
    except KeyError:
        names = ", ".join(f"{language.name} ({language.code})" for language in LANGUAGES)
        raise ValueError(f"unknown language {name_or_code!r}; accepted are {names}") from None
