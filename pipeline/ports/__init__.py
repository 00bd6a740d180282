"""The few Protocols that the services need from the world; `adapters/memory` has a twin of each. Imports schemas only."""

from pipeline.ports.batches import Batch, BatchTransaction, OffsetStore, Place, Received
from pipeline.ports.context import ContextStore, ContextTransaction, Fact, Ignored
from pipeline.ports.edge import Identity, IdentityVault, ObjectStore, Receipt, Receipts, StoredObject
from pipeline.ports.feedback import FeedbackStore
from pipeline.ports.ledger import LedgerStore
from pipeline.ports.log import Clock, EventLog, Record
from pipeline.ports.models import DriftCounts, ShadowScores
from pipeline.ports.pictures import FilmSource, ImageModel, Looked, Picture, PictureReader
from pipeline.ports.reviews import ReviewStore, ReviewTransaction
from pipeline.ports.scoring import DegradedScore, DegradedScores, Scorer
from pipeline.ports.site import ChurnHour, OrderingSource, SiteFigures, SiteRegister, SiteRules, SiteSource, SiteVersion
from pipeline.ports.studies import Step, StepState, Study, StudyLedger
from pipeline.ports.worklist import (
    Act,
    ActKind,
    ChangeKind,
    ItemChange,
    ListedItem,
    ListQuery,
    Page,
    RankChange,
    RankingStore,
    RankingTransaction,
    Summary,
    WorklistActions,
    WorklistReader,
)

__all__ = [
    "Act",
    "ActKind",
    "Batch",
    "BatchTransaction",
    "ChangeKind",
    "ChurnHour",
    "Clock",
    "ContextStore",
    "ContextTransaction",
    "DegradedScore",
    "DegradedScores",
    "DriftCounts",
    "EventLog",
    "Fact",
    "FeedbackStore",
    "FilmSource",
    "Identity",
    "IdentityVault",
    "Ignored",
    "ImageModel",
    "ItemChange",
    "LedgerStore",
    "ListQuery",
    "ListedItem",
    "Looked",
    "ObjectStore",
    "OffsetStore",
    "OrderingSource",
    "Page",
    "Picture",
    "PictureReader",
    "Place",
    "RankChange",
    "RankingStore",
    "RankingTransaction",
    "Receipt",
    "Receipts",
    "Received",
    "Record",
    "ReviewStore",
    "ReviewTransaction",
    "Scorer",
    "ShadowScores",
    "SiteFigures",
    "SiteRegister",
    "SiteRules",
    "SiteSource",
    "SiteVersion",
    "Step",
    "StepState",
    "StoredObject",
    "Study",
    "StudyLedger",
    "Summary",
    "WorklistActions",
    "WorklistReader",
]
