"""The type family of a face: all weights, widths, scripts and regional cuts of one design are one family.

An evaluation pair must not share a family, else telling a bold from a regular would count as recognition. When in
doubt two designs are put together, which costs pairs and flatters nobody.
"""

from __future__ import annotations

import re

STYLES = (
    "Thin|Hairline|(Extra|Ultra|Semi|Demi)?[- ]?(Light|Bold)|Regular|Normal|Book|Medium|Heavy|Black|Italic|Oblique"
    "|Slanted|(Extra|Semi)?Condensed|Mono|Monospace|Display|UI|Sharp|Term"
)
REGIONS = "JP|KR|SC|TC|HK|CN|TW|TW MBE"
_STYLE = re.compile(rf"[ _-]+({STYLES})$")
_REGION = re.compile(rf"[ _-]+({REGIONS})$")

DESIGNS = (
    (r"Noto (Sans|Serif)( Mono)? CJK", r"Noto \1 CJK"),
    (r"Noto Looped .*", "Noto Looped"),
    (r"Noto (Sans|Serif) .*", r"Noto \1"),
    (r"Noto Traditional Nushu", "Noto Sans"),
    (r"HanaMin.*", "HanaMin"),
    (r"TW-(Kai|Sung).*", r"TW-\1"),
    (r"Unifont.*", "Unifont"),
    (r"NanumGothic.*", "NanumGothic"),
    (r"NanumMyeongjo.*", "NanumMyeongjo"),
    (r"NanumBarunGothic.*", "NanumBarunGothic"),
    (r"NanumSquare.*", "NanumSquare"),
    (r"Eunjin.*", "Eunjin"),
    (r"UnPilgia?", "UnPilgi"),
    (r"AR PL (UMing|Mingti2L|SungtiL).*", "AR PL UMing"),
    (r"AR PL (UKai|KaitiM).*", "AR PL UKai"),
    (r"BIZ UDP?(Gothic|Mincho)", r"BIZ UD\1"),
    (r"BM (?i:Euljiro).*", "BM Euljiro"),
    (r"BM HANNA.*", "BM HANNA"),
    (r"D2Coding.*", "D2Coding"),
    (r"kiloji.*", "kiloji"),
    (r"Misaki(Gothic).*", r"Misaki\1"),
    (r"Motoya.*", "Motoya"),
    (r"SetoFont.*", "SetoFont"),
    (r"Ume(Plus)? (P )?Mincho.*", "Ume Mincho"),
    (r"Ume(Plus)? .*", "Ume Gothic"),
    (r"YOz.*", "YOzFont"),
    # By different names, but the pictures say otherwise: of the characters that both draw, this share is alike
    # (cosine 0.98): BabelStone Han and UMing 0.48; UnDotum and Zen Hei, both Hangul, 0.71; fonts of George Douros
    # up to 1.00; IPA and Takao 1.00; M+, its kin and IPA Gothic 0.40 to 0.99; Micro Hei and Droid 0.90; WenKai
    # and Klee 0.89; Konatu and Komatuna 0.83; cwTeX Ming and UnBatang, cwTeX Kai and UnGungseo 0.74.
    (r"BabelStone Han", "AR PL UMing"),
    (r"UnDotum", "WenQuanYi Zen Hei"),
    (r"(IPA|Takao).*Mincho", "IPA Mincho"),
    (
        r"((IPA|Takao).*Gothic|M ?PLUS .*|Mplus .*|MigMix .*|Migu .*|VL P?Gothic|Ricty .*|Monapo)",
        "M+ and IPA Gothic",
    ),
    (r"WenQuanYi Micro Hei", "Droid Sans Fallback"),
    (r"Klee One", "LXGW WenKai"),
    (r"(Komatuna|Konatu).*", "Konatu"),
    (r"cwTeXMing", "UnBatang"),
    (r"cwTeXKai", "UnGungseo"),
    (
        r"Abydos|Aegean|Aegyptus|Akkadian|Alexander|Alfios|Anaktoria|Analecta|Anatolian|Aroania|Asea|Assyrian"
        r"|Atavyros|Avdira|Cretan Hieroglyphs|Cypro-Minoan|Gardiner|Maya|Musica|Nilus|Symbola|Unidings",
        "Douros",
    ),
)
"""(pattern of a family name without style and region, its design)."""


def type_family(name: str) -> str:
    """The design that a face's family name belongs to: "Noto Serif CJK KR Black" is of Noto Serif CJK."""
    before = ""
    while name != before:
        before, name = name, _STYLE.sub("", _REGION.sub("", name.strip()))
    for pattern, design in DESIGNS:
        if found := re.fullmatch(pattern, name):
            return found.expand(design)
    return name
