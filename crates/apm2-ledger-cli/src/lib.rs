//! apm2-ledger-cli
