"""Settings: from a YAML file and the environment into one frozen value, and what the environment offers besides.

load(path, env) ── Settings ──► effective(settings, env) ── providers: configured + detected + local
"""

from runtime.settings.detect import Detected, Effective, detect, effective
from runtime.settings.hooks import AlertSettings, HookSettings, WebhookSettings
from runtime.settings.load import ALSO_READ, load
from runtime.settings.model import (
    AdmissionSettings,
    BreakerSettings,
    CacheSettings,
    EmbeddingsSettings,
    FeedSettings,
    HealthSettings,
    JudgeSettings,
    LearningSettings,
    LedgerSettings,
    LocalSettings,
    ModelSettings,
    ProviderKind,
    ProviderSettings,
    RaySettings,
    Reach,
    RetrySettings,
    SamplingDefaults,
    Settings,
    Timeouts,
)
from runtime.settings.prices import PriceList, PriceSettings
from runtime.settings.problems import BadSettings, Problem, nearest
from runtime.settings.routes import AttemptSettings, HedgeSettings, LearnedSettings, RouteCacheSettings, RouteSettings
from runtime.settings.secrets import EnvReference, Secret, resolve_secret

__all__ = [
    "ALSO_READ",
    "AdmissionSettings",
    "AlertSettings",
    "AttemptSettings",
    "BadSettings",
    "BreakerSettings",
    "CacheSettings",
    "Detected",
    "Effective",
    "EmbeddingsSettings",
    "EnvReference",
    "FeedSettings",
    "HealthSettings",
    "HedgeSettings",
    "HookSettings",
    "JudgeSettings",
    "LearnedSettings",
    "LearningSettings",
    "LedgerSettings",
    "LocalSettings",
    "ModelSettings",
    "PriceList",
    "PriceSettings",
    "Problem",
    "ProviderKind",
    "ProviderSettings",
    "RaySettings",
    "Reach",
    "RetrySettings",
    "RouteCacheSettings",
    "RouteSettings",
    "SamplingDefaults",
    "Secret",
    "Settings",
    "Timeouts",
    "WebhookSettings",
    "detect",
    "effective",
    "load",
    "nearest",
    "resolve_secret",
]
