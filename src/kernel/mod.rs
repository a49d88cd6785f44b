//! Shared, pure: ids, money, usage, pricing, policy, limits, faults, snapshots, records. No I/O, no clock, no async.
