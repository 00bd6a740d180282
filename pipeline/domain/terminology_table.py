"""The mapping table: which LOINC codes, local names and units mean an observable of the catalogue, and the factor to its unit.

Factors are molar masses and unit prefixes. A code is here only if it measures the same quantity in the same kind of specimen:
urine, cerebrospinal fluid and venous blood gases (whose limits differ) are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One way in which sources send an observable.

    units: spelling (see `terminology.plain_unit`) -> factor to the catalogue's unit. alone: the factor where no unit is sent; None: the
    quantity has several usual units, so a bare number says nothing. offset: added before the factor (Fahrenheit).
    """

    name: str
    loincs: tuple[str, ...]
    names: tuple[str, ...]
    units: Mapping[str, float]
    alone: float | None = None
    offsets: Mapping[str, float] = field(default_factory=dict)


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _same(text: str, factor: float = 1.0) -> dict[str, float]:
    return dict.fromkeys(text.split(), factor)


def _row(name: str, loincs: str, names: str, units: Mapping[str, float], alone: float | None = None, **more: Mapping[str, float]) -> Row:
    return Row(name, _codes(loincs), _names(names) if names else (), units, alone, **more)


RATE = _same("/min 1/min {beats}/min beats/min beats/minute bpm {breaths}/min breaths/min br/min resp/min rpm min-1 schl./min pro/min")
PERCENT = _same("% percent prozent")
FRACTION = PERCENT | _same("l/l {fraction} fraction 1", 100)
MMHG = _same("mm[hg] mmhg torr") | _same("kpa", 7.50062)
SCORE = _same("{score} score points pkt {points} 1")
MMOL = _same("mmol/l meq/l mval/l mmole/l mm")
MG_DL = _same("mg/dl mg% mg/100ml") | _same("mg/l", 0.1) | _same("g/l", 100)
G_DL = _same("g/dl gm/dl g/100ml g%") | _same("g/l gm/l g.l-1", 0.1)
COUNT = (
    _same("10*3/ul 10^3/ul 10e3/ul x10e3/ul x10^3/ul x10*3/ul 10*9/l 10^9/l 10e9/l x10^9/l x10e9/l x10*9/l 10*3/mm3 10^3/mm3 10*3/mmc")
    | _same("k/ul k/mm3 k/mcl thou/ul thou/mm3 thous/ul tsd/ul tsd./ul giga/l giga.l-1 g/l gpt/l nl /nl 1/nl 10*6/ml")
    | _same("/ul 1/ul /mm3 cells/ul cells/mm3 {cells}/ul", 0.001)
)
ENZYME = _same("u/l iu/l [iu]/l units/l e/l") | _same("ukat/l ukat/l", 60)
TROPONIN = _same("ng/ml ug/l mcg/l") | _same("ng/l pg/ml", 0.001)
FEU = _same("ug/ml{feu} ug{feu}/ml mg/l{feu} mg{feu}/l ug/mlfeu mg/lfeu ug/ml_feu mg/l_feu mgfeu/l ugfeu/ml") | _same(
    "ng/ml{feu} ng{feu}/ml ug/l{feu} ug{feu}/l ng/mlfeu ug/lfeu ng/ml_feu ug/l_feu ngfeu/ml ugfeu/l", 0.001
)
# One unit of D-dimer mass is two fibrinogen equivalent units.
DDU = _same("ug/ml{ddu} mg/l{ddu} ug/mlddu mg/lddu", 2) | _same("ng/ml{ddu} ug/l{ddu} ng/mlddu ug/lddu", 0.002)

VITALS = (
    _row("heart_rate", "8867-4 76282-3 8889-8 8893-0 76477-9", "heart rate,heartrate,hr,pulse,pulse rate,puls,herzfrequenz,hf,pr", RATE, 1),
    _row("respiratory_rate", "9279-1 76270-8", "respiratory rate,resp rate,respiration rate,respirations,rr,resp,atemfrequenz,af", RATE, 1),
    _row("spo2", "59408-5 2708-6", "spo2,o2 sat,o2sat,sao2,oxygen saturation,o2 saturation pulseoxymetry,pulse oximetry", FRACTION, 1),
    _row(
        "systolic_bp",
        "8480-6 76534-7 76215-3 8459-0 8460-8 8461-6",
        "systolic blood pressure,systolic bp,sbp,nibp systolic,nbp systolic,art systolic,bp systolic,sys bp,systole,systolischer blutdruck",
        MMHG,
        1,
    ),
    _row(
        "diastolic_bp",
        "8462-4 76535-4 76213-8 8453-3 8454-1 8455-8",
        "diastolic blood pressure,diastolic bp,dbp,nibp diastolic,nbp diastolic,bp diastolic,dia bp,diastole,diastolischer blutdruck",
        MMHG,
        1,
    ),
    _row(
        "mean_bp",
        "8478-0 76536-2 76214-6",
        "mean blood pressure,mean arterial pressure,map,mbp,nibp mean,nbp mean,mean bp,mitteldruck",
        MMHG,
        1,
    ),
    _row(
        "temperature",
        "8310-5 8331-1 8332-9 8328-7 8333-7 8334-5 75539-7 11289-6",
        "temperature,temp,body temperature,temp oral,temperature oral,temp core,koerpertemperatur,körpertemperatur",
        _same("cel c °c degc deg_c degreesc celsius") | _same("[degf] f °f degf deg_f degreesf fahrenheit", 5 / 9),
        offsets=_same("[degf] f °f degf deg_f degreesf fahrenheit", -32.0),
    ),
    _row("gcs", "9269-2", "gcs,gcs total,glasgow coma scale,glasgow coma score,glasgow coma scale total", SCORE, 1),
    _row("acvpu", "67775-7", "acvpu,avpu,avpu scale,acvpu scale,level of responsiveness", SCORE, 1),
    _row("fio2", "3150-0 19994-3 19996-8", "fio2,inspired oxygen,inhaled oxygen concentration,inspired o2 fraction", FRACTION),
    _row(
        "oxygen_flow",
        "3151-8",
        "o2 flow,oxygen flow,oxygen flow rate,o2 flow rate,inhaled oxygen flow rate,supplemental oxygen flow",
        _same("l/min lpm liters/min litres/min"),
        1,
    ),
    _row("urine_output", "9192-6 9187-6", "urine output,urine,uop,foley,urinausscheidung", _same("ml cc") | _same("l", 1000)),
    _row(
        "weight",
        "29463-7 3141-9",
        "weight,body weight,wt,gewicht,koerpergewicht,körpergewicht",
        _same("kg kgs") | _same("g", 0.001) | _same("[lb_av] lb lbs [lb_us]", 0.45359237),
    ),
)

LABS = (
    _row("potassium", "2823-3 6298-4 32713-0 39789-3 77142-8", "potassium,k,k+,kalium,pot", MMOL, 1),
    _row("sodium", "2951-2 2947-0 32717-1 39791-9 77139-4", "sodium,na,na+,natrium,sod", MMOL, 1),
    _row(
        "glucose",
        "2345-7 2339-0 14749-6 15074-8 41653-7 32016-8 14743-9 2340-8 2341-6 74774-1 1558-6",
        "glucose,glu,glukose,gluc,blutzucker,bz,blood glucose,glucose poct,glucose fingerstick",
        MG_DL | _same("mmol/l", 18.0156),
    ),
    _row(
        "calcium",
        "17861-6 2000-8 49765-1",
        "calcium,ca,calcium total,ca total,kalzium",
        MG_DL | _same("mmol/l", 4.0078) | _same("meq/l", 2.0039),
    ),
    _row(
        "ionised_calcium",
        "1995-0 1994-3 12180-6",
        "ionized calcium,ionised calcium,ica,ca ionized,free calcium,calcium ionized,ca++,ca2+",
        _same("mmol/l") | _same("mg/dl", 1 / 4.0078) | _same("meq/l", 0.5),
    ),
    _row("magnesium", "19123-9 2601-3 21377-7", "magnesium,mg", MG_DL | _same("mmol/l", 2.4305) | _same("meq/l", 1.21525)),
    _row("phosphate", "2777-1 14879-1", "phosphate,phosphorus,phos,phosphat,inorganic phosphate,po4", MG_DL | _same("mmol/l", 3.0974)),
    # 2028-9 is total CO2, which exceeds bicarbonate by about 1 mmol/L: what chemistry panels report as bicarbonate (so does APACHE).
    _row("bicarbonate", "1963-8 1959-6 1960-4 2028-9", "bicarbonate,hco3,hco3-,bicarb,bikarbonat,standardbicarbonat", MMOL, 1),
    _row("ph", "2744-1 11558-4 2745-8", "ph,arterial ph,ph arterial,blood ph", _same("[ph] ph {ph} units 1"), 1),
    _row("pco2", "2019-8 11557-6", "pco2,paco2,arterial pco2,pco2 arterial", MMHG),
    _row("po2", "2703-7 11556-8", "po2,pao2,arterial po2,po2 arterial", MMHG),
    _row(
        "haemoglobin",
        "718-7 20509-6 30313-1 30350-3 59260-0",
        "haemoglobin,hemoglobin,hb,hgb,hämoglobin,haemoglobin total",
        G_DL | _same("mmol/l", 1.61138),
    ),
    _row("haematocrit", "4544-3 20570-8 4545-0 71833-8 32354-3", "haematocrit,hematocrit,hct,hkt,hämatokrit,pcv", FRACTION),
    _row("platelets", "777-3 26515-7 778-1", "platelets,platelet count,plt,thrombozyten,thrombocytes,plts", COUNT),
    _row(
        "wbc",
        "6690-2 26464-8 804-5",
        "wbc,white blood cells,white blood cell count,leukocytes,leukozyten,leucocytes,white cell count",
        COUNT,
    ),
    _row(
        "neutrophils",
        "751-8 26499-4 753-4",
        "neutrophils,neutrophils absolute,absolute neutrophil count,anc,neut#,neutrophile absolut,abs neutrophils",
        COUNT,
    ),
    _row(
        "inr", "6301-6 34714-6 38875-1 46418-0", "inr,inr(pt),pt inr,international normalized ratio", _same("{inr} inr {ratio} ratio 1"), 1
    ),
    _row(
        "aptt",
        "14979-9 3173-2",
        "aptt,ptt,partial thromboplastin time,activated partial thromboplastin time",
        _same("s sec secs seconds sek"),
        1,
    ),
    _row("fibrinogen", "3255-7", "fibrinogen,fib", MG_DL),
    _row(
        "troponin_i",
        "10839-9 89579-7 49563-0 42757-5",
        "troponin i,tni,hs troponin i,hstni,trop i,ctni,hs-tni,high sensitivity troponin i",
        TROPONIN,
    ),
    _row(
        "troponin_t",
        "6598-7 67151-1 6597-9 48425-3",
        "troponin t,tnt,hs troponin t,hstnt,trop t,ctnt,hs-tnt,high sensitivity troponin t",
        TROPONIN,
    ),
    _row(
        "creatinine",
        "2160-0 38483-4 14682-9 59826-8 77140-2",
        "creatinine,creat,crea,cr,kreatinin,krea,creatinine enzymatic",
        MG_DL | _same("umol/l mcmol/l", 1 / 88.42) | _same("mmol/l", 11.312),
    ),
    _row("urea_nitrogen", "3094-0 6299-2 14937-7 59570-2", "bun,urea nitrogen,blood urea nitrogen", MG_DL | _same("mmol/l", 2.8013)),
    # Urea weighs 60.06, its nitrogen 28.01: a mass of urea is not a mass of urea nitrogen.
    _row(
        "urea_nitrogen",
        "3091-6 22664-7",
        "urea,harnstoff,serum urea",
        _same("mg/dl", 1 / 2.1441) | _same("mg/l", 0.1 / 2.1441) | _same("g/l", 100 / 2.1441) | _same("mmol/l", 2.8013),
    ),
    _row(
        "lactate",
        "2524-7 32693-4 2518-9 2519-7 59032-3 14118-4",
        "lactate,lactic acid,lac,laktat",
        _same("mmol/l meq/l") | _same("mg/dl", 1 / 9.008),
    ),
    _row(
        "bilirubin",
        "1975-2 14631-6 42719-5",
        "bilirubin,bilirubin total,total bilirubin,tbili,t bili,bili,gesamtbilirubin",
        MG_DL | _same("umol/l", 1 / 17.104),
    ),
    _row("alt", "1742-6 1743-4 1744-2", "alt,alat,gpt,sgpt,alt (sgpt),alanine aminotransferase,alt (gpt)", ENZYME, 1),
    _row("ast", "1920-8 30239-8 88112-8", "ast,asat,got,sgot,ast (sgot),aspartate aminotransferase,ast (got)", ENZYME, 1),
    _row("alkaline_phosphatase", "6768-6", "alkaline phosphatase,alp,alk phos,ap,alkphos,alkalische phosphatase", ENZYME, 1),
    _row("albumin", "1751-7 2862-1 61151-7 61152-5", "albumin,alb", G_DL),
    _row(
        "cholesterol", "2093-3 14647-2", "cholesterol,cholesterol total,total cholesterol,chol,cholesterin", MG_DL | _same("mmol/l", 38.67)
    ),
    _row(
        "crp", "1988-5 30522-7", "crp,c-reactive protein,c reactive protein,hs crp,hscrp", _same("mg/l ug/ml mcg/ml") | _same("mg/dl", 10)
    ),
    _row("d_dimer", "48065-7", "d-dimer,ddimer,d-dimers,d dimer,d-dimere", FEU | DDU),
    _row("d_dimer", "48065-7", "", _same("ug/ml mg/l") | _same("ng/ml ug/l", 0.001)),
    _row("d_dimer", "48066-5 48058-2", "", _same("ug/ml mg/l", 2) | _same("ng/ml ug/l", 0.002) | DDU),
)

ROWS = VITALS + LABS

ACVPU = {
    0.0: _names("a,alert,wach,la9340-6,248234008,mentally alert"),
    1.0: _names("c,confusion,new confusion,confused,verwirrt,la6560-2,130987000,1104441000000107,162214003"),
    2.0: _names("v,voice,verbal,responds to voice,ansprechbar,la17108-4,300202002,248238005"),
    3.0: _names("p,pain,painful,responds to pain,la17107-6,450847001"),
    4.0: _names("u,unresponsive,la9343-0,422768004,bewusstlos"),
}
"""Answers of the ACVPU scale: letters, words, LOINC answers and SNOMED CT findings."""
