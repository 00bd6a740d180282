"""The emergencies that an order's words can name: bundle, minutes for the reader, and the words, in English and German.

One pattern a line, umlauts spelled out (ae, oe, ue, ss); letters in (?-i:...) only as capitals, for abbreviations that are words otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bundle:
    """One emergency. after_counts: "status post" names what has just happened (a fall, an arrest), not the past."""

    code: str
    label: str
    minutes: float
    pattern: re.Pattern[str]
    after_counts: bool = False


def _bundle(code: str, label: str, minutes: float, words: str, after_counts: bool = False) -> Bundle:
    patterns = "|".join(line.strip() for line in words.strip().splitlines())
    return Bundle(code, label, minutes, re.compile(rf"(?<!\w)(?:{patterns})(?!\w)", re.IGNORECASE), after_counts)


# CT of a stroke read within 20 min (SNIS: CTA read within 20 min of arrival, AHA 2013: CT interpreted within 45); the other immediate
# threats to life alike; embolism, pneumothorax and ischaemia as a critical value, 30 min; sepsis and the like in NEWS2's urgent hour.
BUNDLES = (
    _bundle(
        "tension-pneumothorax",
        "tension pneumothorax",
        10,
        r"""
        tension pneumothorax
        spannungspneu\w*
        """,
    ),
    _bundle(
        "stroke",
        "stroke",
        20,
        r"""
        (?<!heat )strokes?
        (?-i:CVA|LVO|NIHSS)
        cerebrovascular accident
        large vessel occlusion
        apople\w+
        schlaganf\w+
        (?:hirn|ischaemischer )?insult(?:es|s)?
        hirninfarkt\w*
        mediainfarkt\w*
        basilaristhrombose
        hemipar\w+
        hemipleg\w+
        aphasi[ace]\w*
        facial droop
        mundwinkel\w*
        thrombolysis
        lysefenster
        """,
    ),
    _bundle(
        "intracranial-bleed",
        "intracranial bleeding",
        20,
        r"""
        (?:intra-?cranial|intracerebral|subarachnoid|subdural|epidural|extradural|cerebral|brain) (?:ha?emorrhag\w+|bleed\w*|ha?ematoma\w*)
        (?-i:ICH|ICB|SAH|SAB|SDH|EDH)
        (?:hirn|intrakranielle |intrazerebrale |intracerebrale |subarachnoidal)blutung\w*
        (?:sub|epi)dural(?:es )?haematom\w*
        thunderclap headache
        donnerschlag\w*
        vernichtungskopfschmerz\w*
        worst headache of (?:his|her|their|my) life
        """,
    ),
    _bundle(
        "bleeding",
        "bleeding",
        20,
        r"""
        (?:internal|active|ongoing|massive|arterial) (?:ha?emorrhag\w+|bleed\w*)
        (?:gi|gastrointestinal|intra-?abdominal|retroperitoneal|variceal) (?:ha?emorrhag\w+|bleed\w*)
        ha?emorrhagic shock
        ha?emoperitoneum
        ha?emothorax
        exsanguinat\w+
        massive ha?emoptysis
        hypovolemic shock
        (?:innere|aktive|akute|gi|gastrointestinale|intraabdominelle|retroperitoneale|massive)[ -]?blutung\w*
        haemorrhagischer schock
        haematothorax
        """,
    ),
    _bundle(
        "aortic",
        "acute aortic syndrome",
        20,
        r"""
        (?:aortic|type a|type b) dissection
        dissection of (?:the )?(?:thoracic |abdominal )?aorta
        aortendisse[kc]tion\w*
        aortic rupture
        ruptured (?:aaa|(?:abdominal )?aortic aneurysm)
        aortenruptur\w*
        (?:rupturiertes|gedeckt rupturiertes) (?:baa|(?:bauch)?aortenaneurysma)
        acute aortic syndrome
        akutes aortensyndrom
        """,
    ),
    _bundle(
        "major-trauma",
        "major trauma",
        20,
        r"""
        poly-?trauma\w*
        major trauma
        trauma (?:code|team|alert|activation|call)
        schockraum\w*
        (?:gunshot|stab) wounds?
        (?-i:GSW|MVA|MVC|RTA)
        (?:schuss|stich)verletzung\w*
        motor vehicle (?:accident|collision|crash)
        road traffic (?:accident|collision)
        verkehrsunfall\w*
        fall from height
        sturz aus \w+
        ueberrolltrauma
        ejected from vehicle
        """,
        after_counts=True,
    ),
    _bundle(
        "arrest",
        "cardiac arrest",
        20,
        r"""
        cardiac arrest
        (?-i:ROSC|CPR)
        herz-?kreislauf-?stillstand
        herzstillstand
        reanimation\w*
        """,
        after_counts=True,
    ),
    _bundle(
        "tamponade",
        "cardiac tamponade",
        20,
        r"""
        (?:cardiac |pericardial )?tamponade
        (?:perikard|herzbeutel)tamponade
        """,
    ),
    _bundle(
        "torsion",
        "torsion",
        20,
        r"""
        (?:testicular|ovarian|adnexal) torsion
        (?:hoden|ovarial)torsion
        """,
    ),
    _bundle(
        "airway",
        "airway obstruction",
        20,
        r"""
        airway (?:obstruction|compromise)
        epiglottitis
        stridor
        """,
    ),
    _bundle(
        "herniation",
        "raised intracranial pressure",
        20,
        r"""
        (?:brain|cerebral|uncal|tonsillar) herniation
        (?:raised|increased|elevated) (?:icp|intracranial pressure)
        (?:erhoehter )?hirndruck\w*
        einklemmungszeichen
        blown pupil
        anisokorie
        anisocoria
        """,
    ),
    _bundle(
        "pulmonary-embolism",
        "pulmonary embolism",
        30,
        r"""
        pulmonary (?:thrombo)?embol\w+
        lungen(?:arterien)?embolie\w*
        (?-i:LAE|LE\?)
        (?-i:CTPA)
        (?:rule out|suspected|query|acute|eval(?:uate)? for|verdacht auf|ausschluss(?: von)?|ausschluss einer|\?) ?(?-i:PE)
        (?-i:PE)(?: ?\?| protocol|-protokoll| study)
        """,
    ),
    _bundle(
        "pneumothorax",
        "pneumothorax",
        30,
        r"""
        (?<!tension )pneumothorax
        (?-i:PTX)
        pneu(?= ?\?)
        """,
    ),
    _bundle(
        "perforation",
        "perforation",
        30,
        r"""
        free (?:intra-?peritoneal )?air
        pneumoperitoneum
        perforated (?:viscus|bowel|ulcer|appendi\w+|diverticul\w+)
        (?:bowel|gastric|colonic|esophageal|oesophageal) perforation
        freie luft
        (?:darm|hohlorgan|ulkus|magen|sigma|kolon|oesophagus)perforation\w*
        """,
    ),
    _bundle(
        "ischaemia",
        "acute ischaemia",
        30,
        r"""
        mesenteric isch\w+
        (?:bowel|acute limb) isch\w+
        mesenterial(?:infarkt|ischaemie)
        akute (?:bein|extremitaeten)ischaemie
        """,
    ),
    _bundle(
        "ectopic",
        "ectopic pregnancy",
        30,
        r"""
        ectopic pregnancy
        extrauterin(?:e |-)?\w+
        eileiterschwangerschaft
        (?-i:EUG)
        """,
    ),
    _bundle(
        "sepsis",
        "sepsis",
        60,
        r"""
        (?:uro)?sepsis
        septic shock
        septischer schock
        septisch
        neutropenic fever
        (?-i:SIRS)
        """,
    ),
    _bundle(
        "cord-compression",
        "cord compression",
        60,
        r"""
        (?:spinal )?cord compression
        cauda[ -]equina\w*
        kauda-?syndrom
        (?:rueckenmark|myelon)s?kompression\w*
        querschnitt(?:ssymptomatik|slaehmung|ssyndrom)?
        acute paraplegia
        saddle an(?:a)?esthesia
        """,
    ),
    _bundle(
        "meningitis",
        "meningitis or encephalitis",
        60,
        r"""
        meningi(?:tis|smus)
        encephalitis
        enzephalitis
        """,
    ),
    _bundle(
        "trauma",
        "trauma",
        120,
        r"""
        (?<!major )trauma
        head injury
        schaedel-?hirn-?trauma
        (?-i:SHT|TBI)
        """,
        after_counts=True,
    ),
)
