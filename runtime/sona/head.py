"""The quality head: what quality is expected of each model on this prompt, and how sure is that.

    quality(m, x) = x · theta[m] + noise        theta[m] ~ N(shared + prior[m], own)        shared ~ N(0, ...)

`shared` is how hard the prompt is for everybody, `own` how much models differ. Outcomes of different models come from
different prompts, because only the chosen model's is seen; without the shared part a model that was given the hard
ones would look bad. All weights are estimated at once, with their full covariance, by Bayes' rule: no step size, and
the order of feedback makes no difference.

Given the shared weights s, models have nothing to do with each other. So the joint posterior of all M · D weights is
held as one small part for each model and one for s, and stays so whatever is learned:

    theta[m] | s ~ N(plain[m] + turn[m] s, around[m])        s ~ N(middle, along)

One outcome touches its model's part and that of s: 3 D² multiplications rather than the ((M + 1) D)² of a filter over
the whole covariance, to which this is equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.sona.bank import Floats

_CLAIM = 4.0
"""So many models' worth is a claim to know levels believed, when outcomes speak against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPrior:
    """Standard deviations before any feedback, in units of quality. `noise` is that of one outcome."""

    shared_level: float = 0.15
    shared_topic: float = 0.3
    own_level: float = 0.17
    own_topic: float = 0.1
    noise: float = 0.45


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """What the head holds of a prompt; a row a model. The covariance of theta[j] with quality(m, x) is
    turn[j] · along[m], and around[m] more where j is m."""

    features: Floats
    mean: Floats
    along: Floats
    around: Floats
    variance: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Typical:
    """What the head holds of typical prompts, a row each: `turned[m]` is prompts · turn[m]."""

    prompts: Floats
    turned: Floats
    quality: Floats


class QualityHead:
    """`doubts` are the standard deviations of each model's own level, where they are not all the prior's. Those that
    are firmer than the prior's claim to know something; `relearn_topics` learns whether they do."""

    def __init__(
        self,
        models: Sequence[str],
        levels: Sequence[float],
        width: int,
        prior: HeadPrior,
        *,
        doubts: Sequence[float] | None = None,
    ) -> None:
        self.models = list(models)
        self.width = width
        self.prior = prior
        self.levels = np.array(levels, dtype=np.float64)
        self.own = np.diag(np.r_[prior.own_level**2, np.full(width - 1, prior.own_topic**2)])
        self.middle = np.zeros(width)
        self.along = np.diag(np.r_[prior.shared_level**2, np.full(width - 1, prior.shared_topic**2)])
        self.plain = np.zeros((len(models), width))
        self.plain[:, 0] = levels
        self.turn = np.tile(np.eye(width), (len(models), 1, 1))
        self.around = np.tile(self.own, (len(models), 1, 1))
        self.claimed = np.full(len(models), prior.own_level) if doubts is None else np.array(doubts, dtype=np.float64)
        self.doubts = self.claimed.copy()
        self.around[:, 0, 0] = self.doubts**2
        self._looked: Typical | None = None

    @property
    def weights(self) -> Floats:
        """What is expected of theta, a row a model."""
        return np.asarray(self.plain + self.turn @ self.middle)

    def covariance(self) -> Floats:
        """Of all theta at once, (M D) × (M D): for looking at it, no decision needs it."""
        count, width = self.plain.shape
        flat = self.turn.reshape(count * width, width)
        out = flat @ self.along @ flat.T
        for at in range(count):
            mine = slice(at * width, (at + 1) * width)
            out[mine, mine] += self.around[at]
        return np.asarray(out)

    def believe(self, features: Floats) -> Belief:
        """Expected quality of every model on a prompt with these features, with all that exploring needs to know."""
        seen = features @ self.turn
        around = features @ self.around
        along = seen @ self.along
        mean = self.plain @ features + seen @ self.middle
        variance = np.einsum("ij,ij->i", seen, along) + around @ features
        return Belief(features, mean, along, around, np.maximum(variance, 0.0))

    def look(self, prompts: Floats) -> Typical:
        """The same prompts are looked at again and again: what was found is kept until something was learned."""
        if self._looked is None or self._looked.prompts is not prompts:
            turned = prompts @ self.turn
            self._looked = Typical(prompts, turned, (turned @ self.middle + self.plain @ prompts.T).T)
        return self._looked

    def learn(self, model: int, features: Floats, quality: float, *, weight: float = 1.0) -> float:
        """Take one outcome in. Answers the surprise: quality minus what was expected. `weight` 0.5 is half a one."""
        return self._take(model, features, quality, self.prior.noise**2 / max(weight, 1e-6))[0]

    def unlearn(self, model: int, features: Floats, quality: float, *, weight: float = 1.0) -> bool:
        """Take one outcome out again, as if it had never been learned (exactly so, unless an alarm widened the doubt
        in between). False, and nothing is changed, where the outcome cannot have been among those that were learned.
        """
        # Bayes' rule backwards: an outcome with the noise's variance negated.
        return self._take(model, features, quality, -(self.prior.noise**2) / max(weight, 1e-6))[1]

    def _take(self, model: int, features: Floats, quality: float, noise: float) -> tuple[float, bool]:
        around, turn, plain = self.around[model], self.turn[model], self.plain[model]
        gain = around @ features
        seen = features @ turn
        shared = self.along @ seen
        given = noise + float(features @ gain)
        total = given + float(seen @ shared)
        known = quality - float(plain @ features)
        surprise = known - float(seen @ self.middle)
        if (given > 0.0) != (noise > 0.0) or (total > 0.0) != (noise > 0.0):
            return surprise, False
        self._looked = None
        self.middle += shared * (surprise / total)
        self.along -= np.multiply.outer(shared, shared / total)
        plain += gain * (known / given)
        turn -= np.multiply.outer(gain, seen / given)
        around -= np.multiply.outer(gain, gain / given)
        return surprise, True

    def forget_level(self, model: int, deviation: float) -> None:
        """Be less sure of one model's level, by so much (as a standard deviation); what is known of topics stays."""
        self.around[model, 0, 0] += deviation**2

    def drift(self, variance: float) -> None:
        """Let every model's level have moved a little since the last time."""
        self.around[:, 0, 0] += variance

    def relearn_topics(self, trust: float, *, rounds: int = 3) -> bool:
        """Empirical Bayes: along which directions do models differ at all? Answers whether the prior was changed.

        On real outcomes few directions hold most of what there is. The prior of the own topic weights becomes the mean
        of what is believed of all models (expectation maximisation), drawn to the first prior as by `trust` models; the
        posterior is then as if that prior had been there from the start. Likewise, levels that claimed to be known
        better than the prior's are doubted more where they turned out to be further off than they claimed, all by the
        same factor.
        """
        return all(self._relearn(trust) for _ in range(rounds))

    def _relearn(self, trust: float) -> bool:
        count, width = self.plain.shape
        plain = self.plain.copy()
        plain[:, 0] -= self.levels
        apart = self.turn - np.eye(width)
        own = plain + apart @ self.middle
        spread = apart @ self.along @ apart.transpose(0, 2, 1) + self.around
        seen = spread.sum(axis=0) + own.T @ own
        found = self.own.copy()
        found[1:, 1:] = (trust * self.prior.own_topic**2 * np.eye(width - 1) + seen[1:, 1:]) / (trust + count)
        doubts = self._doubted(own[:, 0] ** 2 + spread[:, 0, 0])
        change = np.tile(np.linalg.inv(found) - np.linalg.inv(self.own), (count, 1, 1))
        change[:, 0, 0] = 1.0 / doubts**2 - 1.0 / self.doubts**2
        sharp = np.linalg.inv(self.around)
        around = np.linalg.inv(sharp + change)
        around = (around + around.transpose(0, 2, 1)) / 2.0
        # What the change says of s, once theta is integrated out.
        held = change - change @ around @ change
        precision = np.linalg.inv(self.along)
        pulled = precision @ self.middle - np.einsum("mki,mkj,mj->i", apart, held, plain)
        precision += np.einsum("mki,mkl,mlj->ij", apart, held, apart)
        try:
            np.linalg.cholesky(around)
            np.linalg.cholesky(precision)
        except np.linalg.LinAlgError:
            return False
        self._looked = None
        along = np.linalg.inv(precision)
        self.along = (along + along.T) / 2.0
        self.middle = self.along @ pulled
        self.turn = around @ (sharp @ self.turn + change)
        self.plain = (around @ sharp @ plain[:, :, None])[:, :, 0]
        self.plain[:, 0] += self.levels
        self.around = around
        self.own = found
        self.doubts = doubts
        return True

    def _doubted(self, squares: Floats) -> Floats:
        """Doubts about levels, given what is believed of the squares of their errors; drawn to what was claimed as by
        `_CLAIM` models, and never below it."""
        firm = self.claimed < self.prior.own_level
        if not firm.any():
            return self.doubts
        off = (_CLAIM + (squares[firm] / self.claimed[firm] ** 2).sum()) / (_CLAIM + firm.sum())
        return np.where(firm, self.claimed * np.sqrt(max(off, 1.0)), self.doubts)

    def level(self, model: int) -> tuple[float, float]:
        """Mean quality of a model over all prompts, and its standard deviation."""
        usual = np.zeros(self.width)
        usual[0] = 1.0
        belief = self.believe(usual)
        return float(belief.mean[model]), float(np.sqrt(belief.variance[model]))

    def add_model(self, model: str, level: float, *, doubt: float | None = None) -> None:
        """A newcomer starts from its prior, but with what is known of all prompts."""
        start = np.zeros((1, self.width))
        start[0, 0] = level
        self._looked = None
        self.levels = np.append(self.levels, level)
        self.plain = np.concatenate([self.plain, start])
        self.turn = np.concatenate([self.turn, np.eye(self.width)[None]])
        claimed = self.prior.own_level if doubt is None else doubt
        around = self.own.copy()
        around[0, 0] = claimed**2
        self.claimed = np.append(self.claimed, claimed)
        self.doubts = np.append(self.doubts, claimed)
        self.around = np.concatenate([self.around, around[None]])
        self.models.append(model)

    def remove_model(self, model: str) -> None:
        """What it taught of the prompts stays in the shared part."""
        at = self.models.index(model)
        self._looked = None
        self.levels = np.delete(self.levels, at)
        self.claimed = np.delete(self.claimed, at)
        self.doubts = np.delete(self.doubts, at)
        self.plain = np.delete(self.plain, at, axis=0)
        self.turn = np.delete(self.turn, at, axis=0)
        self.around = np.delete(self.around, at, axis=0)
        del self.models[at]
