"""Published figures that the simulator must reproduce, minutes."""

from __future__ import annotations

# multi-QuCAD, UserManual.pdf, listings 1, 3, 8, 10: theory. Below it the closed form for a list on which a begun study is finished.
G1 = {
    ("FIFO", "all"): 120.00,
    ("flag first", "LVO"): 18.08,
    ("flag first", "SAH"): 144.45,
    ("flag first", "ICH"): 16.24,
    ("hierarchy", "LVO"): 13.10,
    ("hierarchy", "SAH"): 144.57,
    ("hierarchy", "ICH"): 17.89,
}
G1_FINISHED = {
    ("FIFO", "all"): 120.00,
    ("flag first", "LVO"): 38.46,
    ("flag first", "SAH"): 139.56,
    ("flag first", "ICH"): 36.99,
    ("hierarchy", "LVO"): 34.48,
    ("hierarchy", "SAH"): 139.66,
    ("hierarchy", "ICH"): 38.31,
}

# QuCAD manual, listing 9, by its calculator.
G2 = {
    ("FIFO", "all"): 18.2863,
    ("flag first", "disease"): 2.5673,
    ("flag first", "none"): 19.9839,
    ("flag first", "AI+"): 0.3902,
    ("flag first", "AI-"): 22.1610,
}

# QuCAD's calculator: (readers, share interrupting) -> traffic -> (first come first served, diseased saved, non-diseased delayed)
G3: dict[tuple[int, float], dict[float, tuple[float, float, float]]] = {
    (1, 0.0): {0.5: (10, 7.91, 0.88), 0.8: (40, 33.64, 3.74), 0.9: (90, 77.33, 8.59), 0.95: (190, 165.02, 18.34)},
    (1, 0.1): {0.5: (10.27, 7.78, 0.86), 0.8: (41.10, 33.94, 3.77), 0.9: (92.49, 78.73, 8.75), 0.95: (195.26, 168.80, 18.76)},
    (2, 0.0): {0.5: (3.33, 2.86, 0.32), 0.8: (17.78, 15.42, 1.71), 0.9: (42.63, 37.20, 4.13), 0.95: (92.56, 81.01, 9.00)},
    (2, 0.1): {0.5: (3.44, 2.88, 0.32), 0.8: (18.29, 15.72, 1.70), 0.9: (43.83, 38.05, 4.23), 0.95: (95.15, 83.06, 9.23)},
}

# G1 without interruption, 12 runs of 60,000 studies on paired arrivals: policy -> class -> (mean, p99, maximum of a run)
RUN, RUNS = 60_000, 12
POLICY_CLASSES = ("LVO", "ICH", "SAH", "none")
POLICIES = {
    "FIFO": ((116, 629, 1122), (117, 638, 1186), (116, 635, 1084), (116, 640, 1242)),
    "strict hierarchy": ((34, 339, 1025), (38, 302, 1193), (135, 796, 1315), (134, 802, 1573)),
    "hierarchy + MAXwait 60": ((110, 629, 1122), (112, 638, 1186), (117, 635, 1084), (118, 640, 1242)),
    "hierarchy + MAXwait 240": ((74, 627, 1122), (81, 638, 1186), (125, 636, 1084), (125, 641, 1242)),
    "hierarchy + MAXwait 480": ((47, 590, 1122), (54, 622, 1186), (131, 654, 1084), (131, 664, 1242)),
    "hierarchy + MAXwait 720": ((38, 428, 1131), (43, 464, 1187), (134, 754, 1102), (133, 758, 1256)),
    "EDF 20/45/240": ((60, 500, 1037), (65, 516, 1054), (128, 670, 1126), (128, 679, 1295)),
    "EDF 20/45/480": ((43, 420, 977), (45, 409, 1031), (133, 722, 1184), (133, 733, 1353)),
    "EDF 20/45/720": ((38, 383, 965), (40, 340, 1075), (134, 775, 1219), (134, 784, 1392)),
    "accumulating priority 8:6:1": ((49, 325, 979), (53, 298, 1151), (132, 753, 1283), (131, 770, 1517)),
    "accumulating priority 20:12:1": ((41, 334, 1000), (45, 296, 1172), (133, 772, 1292), (133, 786, 1538)),
}
