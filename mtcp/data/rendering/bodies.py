"""People, animals and things made of capsules: each function places one on free ground, if there is any."""

import math

from mtcp.data.rendering.ground import Ground
from mtcp.data.rendering.shapes import Box, Capsule, Cylinder, Shape, Vector

_HEAD, _TORSO, _UPPER_ARM, _LOWER_ARM, _UPPER_LEG, _LOWER_LEG = range(1, 7)


class _Frame:
    """A position on the ground and a heading; bodies are built in this frame: x to their left, y down, z ahead."""

    def __init__(self, x: float, z: float, heading: float, size: float = 1.0) -> None:
        self.x, self.z, self.size = x, z, size
        self.c, self.s = math.cos(heading), math.sin(heading)

    def at(self, p: Vector) -> Vector:
        x, y, z = (self.size * v for v in p)
        return self.x + self.c * x + self.s * z, y, self.z - self.s * x + self.c * z

    def limb(self, start: Vector, end: Vector, radius: float) -> Capsule:
        return Capsule(self.at(start), self.at(end), self.size * radius)


def _step(start: Vector, length: float, swing: float, spread: float) -> Vector:
    """End of a limb that hangs from `start`: `swing` forward and `spread` sideways, in radians from straight down."""
    return (
        start[0] + length * math.sin(spread),
        start[1] + length * math.cos(swing) * math.cos(spread),
        start[2] + length * math.sin(swing) * math.cos(spread),
    )


def person(ground: Ground) -> None:
    """A person: standing, walking, reaching or sitting."""
    draw = ground.draw
    if not (spot := ground.spot(0.45)):
        return
    heading = draw.uniform(-math.pi, math.pi)
    frame = _Frame(*spot, heading, draw.uniform(0.75, 1.1))
    sitting = draw.random() < 0.2
    hip_y = -0.5 if sitting else -0.9
    lean = draw.uniform(-0.1, 0.25)
    hip, chest = (0.0, hip_y, 0.0), (0.0, hip_y - 0.45 * math.cos(lean), 0.45 * math.sin(lean))
    head = (0.0, chest[1] - 0.3, chest[2] + 0.04)
    skin, shirt, trousers = ground.material(), ground.material(), ground.material()
    shoulder, girth = draw.uniform(0.17, 0.22), draw.uniform(0.12, 0.17)
    ground.add("person", shirt, frame.limb(hip, chest, girth), body_part=_TORSO)
    ground.add(
        "person", shirt, frame.limb((-shoulder, chest[1], chest[2]), (shoulder, chest[1], chest[2]), 0.08),
        body_part=_TORSO,
    )  # fmt: skip
    ground.add("person", skin, frame.limb(head, (0, head[1] - 0.07, head[2]), 0.11), body_part=_HEAD)
    sleeve = shirt if draw.random() < 0.6 else skin
    for side in (-1.0, 1.0):
        joint = (side * (shoulder + 0.03), chest[1], chest[2])
        swing, spread = draw.uniform(-0.9, 1.8), side * draw.uniform(0.05, 1.0)
        elbow = _step(joint, 0.28, swing, spread)
        hand = _step(elbow, 0.3, swing + draw.uniform(0.0, 1.3), 0.6 * spread)
        ground.add("person", shirt, frame.limb(joint, elbow, 0.055), body_part=_UPPER_ARM)
        ground.add("person", sleeve, frame.limb(elbow, hand, 0.045), body_part=_LOWER_ARM)
        thigh = draw.uniform(1.2, 1.5) if sitting else draw.uniform(-0.5, 0.7)
        hip_side = (side * 0.1, hip_y, 0.0)
        knee = _step(hip_side, 0.42, thigh, side * draw.uniform(0.0, 0.2))
        shin = draw.uniform(-0.2, 0.1) if sitting else thigh - draw.uniform(0.0, 0.6)
        foot = _step(knee, 0.42, shin, 0.0)
        ground.add("person", trousers, frame.limb(hip_side, knee, 0.085), body_part=_UPPER_LEG)
        ground.add("person", trousers, frame.limb(knee, foot, 0.06), body_part=_LOWER_LEG)


def four_legged(ground: Ground, name: str, size: float, leg: float, neck: Vector) -> None:
    """An animal on four legs of length `leg`, the head at `neck` from the shoulders."""
    draw = ground.draw
    if not (spot := ground.spot(0.5 * size, nearest=1.8)):
        return
    frame = _Frame(*spot, draw.uniform(-math.pi, math.pi), size)
    fur = ground.material()
    back = -leg - 0.15
    shapes = [frame.limb((0, back, -0.4), (0, back, 0.4), 0.17)]
    head = (0.0, back + neck[1], 0.4 + neck[2])
    shapes += [frame.limb((0, back, 0.4), head, 0.09), frame.limb(head, (0, head[1] + 0.08, head[2] + 0.2), 0.09)]
    shapes.append(frame.limb((0, back - 0.05, -0.5), (0, back + draw.uniform(-0.3, 0.3), -0.75), 0.035))
    for x in (-0.1, 0.1):
        for z in (-0.38, 0.38):
            shapes.append(frame.limb((x, back, z), (x, -0.03, z + draw.uniform(-0.2, 0.2)), 0.05))
    ground.add(name, fur, *shapes)


def dog(ground: Ground) -> None:
    """A dog."""
    four_legged(ground, "dog", ground.draw.uniform(0.5, 0.8), 0.45, (0.0, -0.2, 0.15))


def horse(ground: Ground) -> None:
    """A horse."""
    four_legged(ground, "horse", ground.draw.uniform(1.1, 1.5), 0.75, (0.0, -0.5, 0.25))


def bird(ground: Ground) -> None:
    """A bird on the ground or in the air."""
    draw = ground.draw
    if not (spot := ground.spot(0.3)):
        return
    frame = _Frame(*spot, draw.uniform(-math.pi, math.pi), draw.uniform(0.5, 0.9))
    y = -draw.uniform(0.3, 2.5) / frame.size
    ground.add(
        "bird", ground.material(),
        frame.limb((0, y, -0.15), (0, y - 0.05, 0.15), 0.12),
        frame.limb((0, y - 0.15, 0.25), (0, y - 0.15, 0.25), 0.08),
        frame.limb((0, y, -0.2), (0, y, -0.45), 0.04),
        *(frame.limb((0, y, 0), (side * 0.5, y - draw.uniform(-0.2, 0.3), -0.1), 0.05) for side in (-1, 1)),
    )  # fmt: skip


def chair(ground: Ground) -> None:
    """A chair."""
    draw = ground.draw
    if not (spot := ground.spot(0.35)):
        return
    heading = draw.uniform(-math.pi, math.pi)
    frame = _Frame(*spot, heading)
    wide, seat = draw.uniform(0.2, 0.28), draw.uniform(0.4, 0.5)
    shapes: list[Shape] = [
        Box(frame.at((0, -seat, 0)), (wide, 0.03, wide), -heading),
        Box(frame.at((0, -seat - 0.25, -wide)), (wide, 0.25, 0.03), -heading),
    ]
    shapes += [frame.limb((x, -seat, z), (x, 0, z), 0.03) for x in (-wide, wide) for z in (-wide, wide)]
    ground.add("chair", ground.material(), *shapes)


def small(ground: Ground) -> None:
    """A ball, a bottle or a box."""
    draw = ground.draw
    size = draw.uniform(0.12, 0.35)
    if not (spot := ground.spot(size, nearest=1.2)):
        return
    x, z = spot
    kind = draw.random()
    if kind < 0.4:
        ground.add("ball", ground.material(), Capsule((x, -size, z), (x, -size, z), size))
    elif kind < 0.7:
        ground.add(
            "bottle", ground.material(),
            Cylinder((x, -size, z), 0.4 * size, size),
            Cylinder((x, -2.3 * size, z), 0.15 * size, 0.35 * size),
        )  # fmt: skip
    else:
        shape = Box((x, -0.8 * size, z), (size, 0.8 * size, 0.8 * size), draw.uniform(-math.pi, math.pi))
        ground.add("box", ground.material(), shape)
