"""Pure functions from table to table: rates, the reasoning tax, blind spots, thinking and answer, and how sure."""

from __future__ import annotations

from safemlrm.analysis.accuracy import accuracy
from safemlrm.analysis.association import association
from safemlrm.analysis.averages import averages, families, sensitivity
from safemlrm.analysis.blind_spots import blind_spots
from safemlrm.analysis.consistency import consistency, correlations, training
from safemlrm.analysis.counts import counts, differences, read_counts
from safemlrm.analysis.coupling import coupling, joint, self_correction
from safemlrm.analysis.decomposition import both_complied, decomposition
from safemlrm.analysis.effects import effects, effects_from_counts, means
from safemlrm.analysis.factors import factors, stages
from safemlrm.analysis.frames import READINGS, check, labelled, pairs_of
from safemlrm.analysis.headline import headline
from safemlrm.analysis.misreading import corrected, retest
from safemlrm.analysis.outcomes import missing, outcomes
from safemlrm.analysis.power import Assumed, items_needed, power, power_table, smallest_tax
from safemlrm.analysis.primary import Comparison, Declared, comparisons, primary
from safemlrm.analysis.rates import hr, rates, rates_from_counts, refusals
from safemlrm.analysis.resampling import Replicates, replicates, replicates_from_counts
from safemlrm.analysis.sequential import confidence_sequence, first_exclusion
from safemlrm.analysis.shares import shares
from safemlrm.analysis.tax import prompts, tax, tax_from_counts
from safemlrm.analysis.turning import placed, survival, turned, turning

__all__ = [
    "READINGS",
    "Assumed",
    "Comparison",
    "Declared",
    "Replicates",
    "accuracy",
    "association",
    "averages",
    "blind_spots",
    "both_complied",
    "check",
    "comparisons",
    "confidence_sequence",
    "consistency",
    "corrected",
    "correlations",
    "counts",
    "coupling",
    "decomposition",
    "differences",
    "effects",
    "effects_from_counts",
    "factors",
    "families",
    "first_exclusion",
    "headline",
    "hr",
    "items_needed",
    "joint",
    "labelled",
    "means",
    "missing",
    "outcomes",
    "pairs_of",
    "placed",
    "power",
    "power_table",
    "primary",
    "prompts",
    "rates",
    "rates_from_counts",
    "read_counts",
    "refusals",
    "replicates",
    "replicates_from_counts",
    "retest",
    "self_correction",
    "sensitivity",
    "shares",
    "smallest_tax",
    "stages",
    "survival",
    "tax",
    "tax_from_counts",
    "training",
    "turned",
    "turning",
]
