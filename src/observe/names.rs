//! Names of metrics and values of their labels (interface.md §6). Counters are named without `_total` here; the text format
//! adds it.

/// Requests, by format, operation, status and outcome. Printed as `weir_requests_total`.
pub const REQUESTS: &str = "weir_requests";
/// Tokens, by kind and model. Printed as `weir_tokens_total`.
pub const TOKENS: &str = "weir_tokens";
/// Money spent, US dollars, by team. Printed as `weir_cost_usd_total`.
pub const COST_USD: &str = "weir_cost_usd";
/// Answers streaming now.
pub const STREAMS_OPEN: &str = "weir_streams_open";
/// Time a request spent in weir rather than waiting for others, seconds.
pub const GATEWAY_OVERHEAD_SECONDS: &str = "weir_gateway_overhead_seconds";
/// From the head being read to the first byte of the answer's body, seconds.
pub const TTFB_SECONDS: &str = "weir_ttfb_seconds";
/// Attempts at upstreams, by upstream and result. Printed as `weir_upstream_attempts_total`.
pub const UPSTREAM_ATTEMPTS: &str = "weir_upstream_attempts";
/// Shards that have an upstream ejected now, by upstream.
pub const UPSTREAM_EJECTED: &str = "weir_upstream_ejected_shards";
/// Ejections of an upstream, over all shards, by upstream. Printed as `weir_upstream_ejections_total`.
pub const UPSTREAM_EJECTIONS: &str = "weir_upstream_ejections";
/// Requests running at an upstream now, by upstream.
pub const UPSTREAM_IN_FLIGHT: &str = "weir_upstream_in_flight";
/// Failures of an upstream that were not tried elsewhere, since its retry budget was used up, by upstream. Printed as
/// `weir_upstream_retries_denied_total`.
pub const UPSTREAM_RETRIES_DENIED: &str = "weir_upstream_retries_denied";
/// Requests waiting for a place on a shard or at an upstream now.
pub const REQUESTS_WAITING: &str = "weir_requests_waiting";
/// Requests that had to wait for a place. Printed as `weir_requests_queued_total`.
pub const REQUESTS_QUEUED: &str = "weir_requests_queued";
/// Requests that got none. Printed as `weir_requests_turned_away_total`.
pub const REQUESTS_TURNED_AWAY: &str = "weir_requests_turned_away";
/// Requests turned away before a shard was full, by class. Printed as `weir_requests_shed_total`.
pub const REQUESTS_SHED: &str = "weir_requests_shed";
/// Requests that repeat one that still runs. Printed as `weir_duplicate_turns_total`.
pub const DUPLICATE_TURNS: &str = "weir_duplicate_turns";
/// What the first of two such requests cost, US dollars. Printed as `weir_duplicate_turns_lost_usd_total`.
pub const DUPLICATES_LOST_USD: &str = "weir_duplicate_turns_lost_usd";
/// What ending the first has saved, US dollars. Printed as `weir_duplicate_turns_saved_usd_total`.
pub const DUPLICATES_SAVED_USD: &str = "weir_duplicate_turns_saved_usd";
/// Requests that would not have been recognised if repeated, since too many run. Printed as
/// `weir_duplicate_turns_untracked_total`.
pub const DUPLICATES_UNTRACKED: &str = "weir_duplicate_turns_untracked";
/// Sessions whose prompt cache was lost to a change, by cause. Printed as `weir_cache_dropped_sessions_total`.
pub const CACHE_DROPPED_SESSIONS: &str = "weir_cache_dropped_sessions";
/// Tokens that could not be read from a cache because of a change, by cause. Printed as `weir_cache_lost_tokens_total`.
pub const CACHE_LOST_TOKENS: &str = "weir_cache_lost_tokens";
/// What these cost more than reading them would have, US dollars, by cause. Printed as `weir_cache_lost_usd_total`.
pub const CACHE_LOST_USD: &str = "weir_cache_lost_usd";
/// Refused requests, by reason. Printed as `weir_refused_total`.
pub const REFUSED: &str = "weir_refused";
/// Room left in each budget, US dollars, by scope.
pub const BUDGET_REMAINING_USD: &str = "weir_budget_remaining_usd";
/// Accounts opened for callers that no key stands for.
pub const FIRST_SIGHT_ACCOUNTS: &str = "weir_first_sight_accounts";
/// Requests refused because there were too many of them.
pub const FIRST_SIGHT_REFUSED: &str = "weir_first_sight_refused";
/// How far the ledger is behind the shards, seconds.
pub const LEDGER_LAG_SECONDS: &str = "weir_ledger_lag_seconds";
/// Client connections now, by shard.
pub const SHARD_CONNECTIONS: &str = "weir_shard_connections";
/// How far the export's destination is behind the journal, at most, seconds. Only where an export is configured.
pub const EXPORT_LAG_SECONDS: &str = "weir_export_lag_seconds";
/// Records exported by this process. Printed as `weir_export_records_total`.
pub const EXPORT_RECORDS: &str = "weir_export_records";
/// Runs of the export that failed. Printed as `weir_export_failures_total`.
pub const EXPORT_FAILURES: &str = "weir_export_failures";
/// Idle upstream connections now.
pub const UPSTREAM_IDLE: &str = "weir_upstream_connections_idle";
/// Connections that requests were sent on, new or kept. Printed as `weir_upstream_connections_total`.
pub const UPSTREAM_CONNECTIONS: &str = "weir_upstream_connections";
/// TLS handshakes with upstreams, resumed or not. Printed as `weir_upstream_tls_handshakes_total`.
pub const UPSTREAM_HANDSHAKES: &str = "weir_upstream_tls_handshakes";
/// Upstream connections not used again, by reason. Printed as `weir_upstream_connections_retired_total`.
pub const UPSTREAM_RETIRED: &str = "weir_upstream_connections_retired";
/// Can an upstream's minted credential be shown now? 1 or 0, by upstream.
pub const CREDENTIAL_VALID: &str = "weir_upstream_credential_valid";
/// How long it is still good, seconds, by upstream; absent where it has no end.
pub const CREDENTIAL_REMAINING: &str = "weir_upstream_credential_remaining_seconds";
/// Attempts to mint one, by upstream and result. Printed as `weir_upstream_credential_mints_total`.
pub const CREDENTIAL_MINTS: &str = "weir_upstream_credential_mints";
/// Age of the keys that an issuer of tokens publishes, as weir has them, seconds, by issuer; without any, since 1970.
pub const TOKEN_KEYS_AGE_SECONDS: &str = "weir_token_keys_age_seconds";
/// Is the journal being written? 1 or 0.
pub const JOURNAL_ACCEPTING: &str = "weir_journal_accepting";
/// Requests that left no record because the ring to the journal was full. Printed as `weir_records_lost_total`.
pub const RECORDS_LOST: &str = "weir_records_lost";
/// Answers whose metering was given up. Printed as `weir_meters_gave_up_total`.
pub const METERS_GAVE_UP: &str = "weir_meters_gave_up";
/// Answers whose provider counted tokens twice, and differently. Printed as `weir_counts_differed_total`.
pub const COUNTS_DIFFERED: &str = "weir_counts_differed";
/// Refusals of upstreams that name a beta or a field. Printed as `weir_refused_by_name_total`.
pub const REFUSED_BY_NAME: &str = "weir_refused_by_name";
/// Requests said without what was refused by name. Printed as `weir_repairs_total`.
pub const REPAIRS: &str = "weir_repairs";
/// Requests refused because their bodies could not be stored. Printed as `weir_bodies_refused_total`.
pub const BODIES_REFUSED: &str = "weir_bodies_refused";
/// Requests whose bodies should have been stored, and were dropped. Printed as `weir_bodies_dropped_total`.
pub const BODIES_DROPPED: &str = "weir_bodies_dropped";
/// Bytes of bodies waiting to be stored.
pub const BODIES_WAITING_BYTES: &str = "weir_bodies_waiting_bytes";
/// Connections ended by a panic. Printed as `weir_panics_total`.
pub const PANICS: &str = "weir_panics";
/// Client connections turned away. Printed as `weir_connections_refused_total`.
pub const CONNECTIONS_REFUSED: &str = "weir_connections_refused";

/// Every `reason` of `weir_refused_total`: the labels of `FaultKind`.
pub const REFUSAL_REASONS: [&str; 22] = [
    "bad_head",
    "bad_body",
    "unauthenticated",
    "signed_by_client",
    "token_key_unknown",
    "key_revoked",
    "denied",
    "not_found",
    "method_not_allowed",
    "body_too_large",
    "client_timeout",
    "client_gone",
    "superseded",
    "budget_spent",
    "budget_busy",
    "rate_limited",
    "overloaded",
    "upstream_unreachable",
    "upstream_timeout",
    "upstream_broken",
    "upstream_credential",
    "internal",
];

/// Every `kind` of `weir_tokens_total`.
pub const TOKEN_KINDS: [&str; 5] = ["input", "output", "cache_read", "cache_write_5m", "cache_write_1h"];

/// Every `cause` of the `weir_cache_…` metrics.
pub const CACHE_CAUSES: [&str; 2] = ["reload", "moved"];

/// What stands for all further values of a label whose values others choose, once there are `LABEL_VALUES_MAX`.
pub const OTHER: &str = "other";
/// Values of one such label, at most: a client that invents model names must not grow our memory.
pub const LABEL_VALUES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{
        fault::{FaultKind, SpentBudget},
        money::Nanos,
        window::Period,
    };

    #[test]
    fn every_fault_has_its_reason_exported_from_the_start() {
        let spent = SpentBudget {
            period: Period::Daily,
            resets_at: None,
            pooled: false,
            message: String::new(),
            amount: Nanos::ZERO,
        };
        let faults = [
            FaultKind::BadHead(400),
            FaultKind::BadBody,
            FaultKind::Unauthenticated,
            FaultKind::SignedByClient,
            FaultKind::TokenKeyUnknown,
            FaultKind::KeyRevoked,
            FaultKind::Denied,
            FaultKind::NotFound,
            FaultKind::MethodNotAllowed(""),
            FaultKind::BodyTooLarge,
            FaultKind::ClientTimeout,
            FaultKind::ClientGone,
            FaultKind::Superseded,
            FaultKind::BudgetSpent(Box::new(spent)),
            FaultKind::BudgetBusy,
            FaultKind::RateLimited { retry_after_seconds: 1 },
            FaultKind::Overloaded,
            FaultKind::UpstreamUnreachable,
            FaultKind::UpstreamTimeout,
            FaultKind::UpstreamBroken,
            FaultKind::UpstreamCredential,
            FaultKind::Internal,
        ];
        assert_eq!(faults.map(|f| f.label()), REFUSAL_REASONS);
    }
}
