"""Optimizers in float64 NumPy: what a composition must do, number by number.

Nothing here comes from the package, from Optax or from JAX. A part has `reset`,
`update(updates, parameters, told)` with dictionaries of arrays, and `scale`: what it
multiplied by in its last update.
"""

import math
from typing import NamedTuple

import numpy as np

B1, B2, EPS = 0.9, 0.95, 1e-3


class Told(NamedTuple):
    """The extra arguments of an update, and a factor that was measured in it."""

    value: float
    resumed: bool
    record: bool
    number: int
    factor: float = 1.0


class Part:
    """A part without a state of its own that leaves updates as they are."""

    scale = 1.0
    inner = ()

    def __init__(self, *inner):
        self.inner = inner
        self.reset()

    def reset(self):
        for part in self.inner:
            part.reset()

    def parts(self, kind):
        """All parts of a kind, in order."""
        found = [self] if isinstance(self, kind) else []
        return found + [x for part in self.inner for x in part.parts(kind)]

    @property
    def scales(self):
        """That of each group of parameters."""
        return [self.scale]


class Adam(Part):
    """Adam's direction; seeded, clipped by theta, or its RMS held below a threshold."""

    def __init__(self, seeded=False, theta=None, threshold=None):
        self.seeded, self.theta, self.threshold = seeded, theta, threshold
        super().__init__()

    def reset(self):
        self.count, self.number = 0, -1
        self.mu, self.nu = {}, {}
        self.gradient, self.nu_hat, self.direction = {}, {}, {}

    def update(self, updates, parameters, told):
        self.number = told.number
        self.count += 1
        out = {}
        for name, given in updates.items():
            g = self._clipped(name, given)
            nu = (
                np.abs(g) ** 2
                if self.seeded and self.count == 1
                else self.nu.get(name, 0)
            )
            self.mu[name] = B1 * self.mu.get(name, 0) + (1 - B1) * g
            self.nu[name] = B2 * nu + (1 - B2) * np.abs(g) ** 2
            nu_hat = self.nu[name] / (1 - B2**self.count)
            mu_hat = self.mu[name] / (1 - B1**self.count)
            self.gradient[name], self.nu_hat[name] = g, nu_hat
            self.direction[name] = mu_hat / (np.sqrt(nu_hat) + EPS)
            out[name] = self.direction[name] / self._shrinks(given, nu_hat)
        return out

    def _clipped(self, name, g):
        if self.theta is None or self.count == 1 or not g.size:
            return g
        nu_hat = self.nu[name] / (1 - B2 ** (self.count - 1))
        limit = np.sqrt(self.theta * np.maximum(nu_hat, nu_hat.mean()))
        return g * np.minimum(1, limit / np.abs(g))

    def _shrinks(self, g, nu_hat):
        if self.threshold is None or not g.size:
            return 1
        return max(1, rms(g / np.sqrt(nu_hat)) / self.threshold)


class Scale(Part):
    """Times a function of the count; a rate descends, too."""

    def __init__(self, function, sign=1):
        self.function, self.sign = function, sign
        super().__init__()

    def reset(self):
        self.count, self.scale = 0, self.function(0)

    def update(self, updates, parameters, told):
        self.scale = self.function(self.count)
        self.count += 1
        return {name: self.sign * self.scale * u for name, u in updates.items()}


class Plateau(Part):
    """Half for each loss that is not below the best."""

    def reset(self):
        self.scale, self.best = 1.0, math.inf

    def update(self, updates, parameters, told):
        if told.value < self.best:
            self.best = told.value
        else:
            self.scale /= 2
        return {name: self.scale * u for name, u in updates.items()}


class Chain(Part):
    def update(self, updates, parameters, told):
        for part in self.inner:
            updates = part.update(updates, parameters, told)
        return updates

    @property
    def scale(self):
        return math.prod(part.scale for part in self.inner)

    @property
    def scales(self):
        """Each factor counts for all groups of the parts that have several."""
        return list(np.prod(np.broadcast_arrays(*(p.scales for p in self.inner)), 0))


class Around(Part):
    """What wraps another part."""

    @property
    def scale(self):
        return self.inner[0].scale

    @property
    def scales(self):
        return self.inner[0].scales

    def update(self, updates, parameters, told):
        return self.inner[0].update(updates, parameters, told)


class Accumulated(Around):
    """An update for the mean of every two gradients."""

    def reset(self):
        super().reset()
        self.waiting = []

    def update(self, updates, parameters, told):
        self.waiting.append(updates)
        if len(self.waiting) < 2:
            return {name: 0 * u for name, u in updates.items()}
        one, other = self.waiting
        self.waiting = []
        mean = {name: (one[name] + other[name]) / 2 for name in one}
        return super().update(mean, parameters, told)


class Skip(Around):
    """No update for a gradient that is not finite."""

    def update(self, updates, parameters, told):
        if all(np.isfinite(u).all() for u in updates.values()):
            return super().update(updates, parameters, told)
        return {name: np.zeros_like(u) for name, u in updates.items()}


class RestartIf(Around):
    def update(self, updates, parameters, told):
        if told.resumed:
            self.inner[0].reset()
        return super().update(updates, parameters, told)


class RestartOnSpike(Around):
    """After two losses that differ by less than this one from their mean."""

    def reset(self):
        super().reset()
        self.losses = []

    def update(self, updates, parameters, told):
        if len(self.losses) >= 2:
            mean, deviation = np.mean(self.losses[:2]), np.std(self.losses[:2])
            if told.value > mean + 6 * deviation + 1e-5:
                self.inner[0].reset()
                self.losses = []
                return super().update(updates, parameters, told)
        self.losses.append(told.value)
        return super().update(updates, parameters, told)


class Automatic(Around):
    """A factor that is measured: what it is, is told."""

    def reset(self):
        super().reset()
        self.factor = 1.0

    @property
    def scale(self):
        return self.inner[0].scale * self.factor

    @property
    def scales(self):
        return [self.scale]

    def update(self, updates, parameters, told):
        self.factor = told.factor
        updates = super().update(updates, parameters, told)
        return {name: self.factor * u for name, u in updates.items()}


class Parted(Part):
    """The leaf "w" to one part, all others to another."""

    def update(self, updates, parameters, told):
        body = {name: u for name, u in updates.items() if name == "w"}
        head = {name: u for name, u in updates.items() if name != "w"}
        one, other = self.inner
        return one.update(body, parameters, told) | other.update(head, parameters, told)

    @property
    def scales(self):
        return [part.scale for part in self.inner]


class Record(Around):
    """The numbers of a record, taken of everything."""

    def reset(self):
        super().reset()
        self.rows, self.clock = {}, 0

    def update(self, updates, parameters, told):
        adams = self.inner[0].parts(Adam)
        updates = super().update(updates, parameters, told)
        if all(adam.number != told.number for adam in adams):
            return updates  # no gradient has entered the moments
        if told.record:
            self.rows[self.clock] = numbers(adams, updates, parameters)
        self.clock += 1
        return updates


def numbers(adams, updates, parameters):
    held = {name: adam for adam in adams for name in adam.direction}
    g, d, u, p, nu_hat = (
        np.concatenate([np.zeros(0), *(np.ravel(of(name)) for name in held)])
        for of in (
            lambda name: held[name].gradient[name],
            lambda name: held[name].direction[name],
            lambda name: updates[name],
            lambda name: parameters[name],
            lambda name: held[name].nu_hat[name],
        )
    )
    if not g.size:
        return {}
    columns = np.stack([pairs(-d), pairs(-p)], axis=1)
    together = len(g) > 1 or np.iscomplexobj(g)
    rate = np.linalg.lstsq(columns if together else columns[:, :1], pairs(u))[0][0]
    return {
        "normalized_gradient_rms": rms(g / np.maximum(np.sqrt(nu_hat), EPS)),
        "update_rms": rms(d),
        "applied_rate": float(rate),
        "update_to_weight": rms(u) / rms(p),
    }


def pairs(x):
    """Complex numbers as vectors in the plane."""
    return np.concatenate([np.real(x), np.imag(x)])


def rms(x):
    return float(np.sqrt(np.mean(np.abs(x) ** 2)))
