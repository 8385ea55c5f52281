//! apm2-ledger
