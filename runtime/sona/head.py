"""The quality head: what quality is expected of each model on this prompt, and how sure is that.

    quality(m, x) = x · (shared + own[m]) + noise        shared ~ N(0, ...), own[m] ~ N(prior[m], ...)

`shared` is how hard the prompt is for everybody, `own[m]` how this model differs. Outcomes of different models come
from different prompts, because only the chosen model's is seen; without the shared part a model that was given the
hard ones would look bad. All weights are estimated at once, with their full covariance, by Bayes' rule (recursive
least squares): no step size, and the order of feedback makes no difference.

With M models and D features there are P = (M + 1) · D weights; an update costs P² multiplications.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.sona.bank import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPrior:
    """Standard deviations before any feedback, in units of quality. `noise` is that of one outcome."""

    shared_level: float = 0.05
    shared_topic: float = 0.3
    own_level: float = 0.15
    own_topic: float = 0.08
    noise: float = 0.45


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """What the head holds of a prompt. `spread[j, :, m]` is the covariance of block j's weights with quality(m, x)."""

    features: Floats
    mean: Floats
    spread: Floats
    variance: Floats


class QualityHead:
    def __init__(self, models: Sequence[str], levels: Sequence[float], width: int, prior: HeadPrior) -> None:
        self.models = list(models)
        self.width = width
        self.prior = prior
        self.own_topics = prior.own_topic**2 * np.eye(width - 1)
        self.weights = np.zeros((len(models) + 1, width))
        self.weights[1:, 0] = levels
        blocks = [self._shared(), *(self._own() for _ in models)]
        self.covariance = np.diag(np.concatenate(blocks))

    def _shared(self) -> Floats:
        out = np.full(self.width, self.prior.shared_topic**2)
        out[0] = self.prior.shared_level**2
        return out

    def _own(self) -> Floats:
        out = np.full(self.width, self.prior.own_topic**2)
        out[0] = self.prior.own_level**2
        return out

    def believe(self, features: Floats) -> Belief:
        """Expected quality of every model on a prompt with these features, with all that exploring needs to know."""
        blocks = len(self.models) + 1
        moved = (self.covariance.reshape(-1, self.width) @ features).reshape(blocks, self.width, blocks)
        spread = moved[:, :, 1:] + moved[:, :, :1]
        at = np.arange(blocks - 1)
        along = np.tensordot(features, spread, axes=(0, 1))
        variance = along[0] + along[at + 1, at]
        means = self.weights @ features
        return Belief(features, means[0] + means[1:], spread, np.maximum(variance, 0.0))

    def learn(self, model: int, features: Floats, quality: float, *, weight: float = 1.0) -> float:
        """Take one outcome in. Answers the surprise: quality minus what was expected. `weight` 0.5 is half a one."""
        w = self.width
        own = slice((model + 1) * w, (model + 2) * w)
        gain = self.covariance[:, :w] @ features + self.covariance[:, own] @ features
        surprise = quality - float(features @ (self.weights[0] + self.weights[model + 1]))
        scale = self.prior.noise**2 / max(weight, 1e-6) + float(features @ (gain[:w] + gain[own]))
        self.weights += (gain * (surprise / scale)).reshape(self.weights.shape)
        self.covariance -= np.multiply.outer(gain, gain / scale)
        return surprise

    def unlearn(self, model: int, features: Floats, quality: float, *, weight: float = 1.0) -> bool:
        """Take one outcome out again, as if it had never been learned (exactly so, unless an alarm widened the doubt
        in between). False, and nothing is changed, where the outcome cannot have been among those that were learned.
        """
        w = self.width
        own = slice((model + 1) * w, (model + 2) * w)
        gain = self.covariance[:, :w] @ features + self.covariance[:, own] @ features
        scale = self.prior.noise**2 / max(weight, 1e-6) - float(features @ (gain[:w] + gain[own]))
        if scale <= 0.0:
            return False
        surprise = quality - float(features @ (self.weights[0] + self.weights[model + 1]))
        self.weights -= (gain * (surprise / scale)).reshape(self.weights.shape)
        self.covariance += np.multiply.outer(gain, gain / scale)
        return True

    def forget_level(self, model: int, deviation: float) -> None:
        """Be less sure of one model's level, by so much (as a standard deviation); what is known of topics stays."""
        at = (model + 1) * self.width
        self.covariance[at, at] += deviation**2

    def drift(self, variance: float) -> None:
        """Let every model's level have moved a little since the last time."""
        at = np.arange(1, len(self.models) + 1) * self.width
        self.covariance[at, at] += variance

    def relearn_topics(self, trust: float, *, rounds: int = 3) -> bool:
        """Empirical Bayes: along which directions do models differ at all? Answers whether the prior was changed.

        On real outcomes two directions hold most of what there is. The prior of the own topic weights becomes the mean
        of what is believed of all models (expectation maximisation), drawn to the first prior as by `trust` models; the
        posterior is then as if that prior had been there from the start.
        """
        blocks, inner = len(self.models), self.width - 1
        start = self.prior.own_topic**2 * np.eye(inner)
        at = [slice((one + 1) * self.width + 1, (one + 2) * self.width) for one in range(blocks)]
        for _ in range(rounds):
            total = trust * start
            for one in range(blocks):
                mean = self.weights[one + 1, 1:]
                total = total + np.multiply.outer(mean, mean) + self.covariance[at[one], at[one]]
            found = total / (trust + blocks)
            precision = np.linalg.inv(self.covariance)
            pulled = precision @ self.weights.ravel()
            change = np.linalg.inv(found) - np.linalg.inv(self.own_topics)
            for one in range(blocks):
                precision[at[one], at[one]] += change
            try:
                np.linalg.cholesky(precision)
            except np.linalg.LinAlgError:
                return False
            covariance = np.linalg.inv(precision)
            self.covariance = (covariance + covariance.T) / 2.0
            self.weights = (self.covariance @ pulled).reshape(self.weights.shape)
            self.own_topics = found
        return True

    def level(self, model: int) -> tuple[float, float]:
        """Mean quality of a model over all prompts, and its standard deviation."""
        at = (model + 1) * self.width
        variance = self.covariance[0, 0] + 2 * self.covariance[0, at] + self.covariance[at, at]
        return float(self.weights[0, 0] + self.weights[model + 1, 0]), float(np.sqrt(max(variance, 0.0)))

    def add_model(self, model: str, level: float) -> None:
        """A newcomer starts from its prior, but with what is known of all prompts."""
        start = np.zeros((1, self.width))
        start[0, 0] = level
        self.weights = np.concatenate([self.weights, start])
        size = len(self.covariance)
        grown = np.zeros((size + self.width, size + self.width))
        grown[:size, :size] = self.covariance
        grown[size:, size:] = np.diag(self._own())
        grown[size + 1 :, size + 1 :] = self.own_topics
        self.covariance = grown
        self.models.append(model)

    def remove_model(self, model: str) -> None:
        """What it taught of the prompts stays in the shared part."""
        at = self.models.index(model)
        gone = np.arange((at + 1) * self.width, (at + 2) * self.width)
        self.weights = np.delete(self.weights, at + 1, axis=0)
        self.covariance = np.delete(np.delete(self.covariance, gone, axis=0), gone, axis=1)
        del self.models[at]
