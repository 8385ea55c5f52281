//! The ledger.

use std::path::Path;

use apm2_ledger::Ledger;

use crate::{
    Result,
    events::{registered, sampled_with_reason, start, stream},
    peers::Peer,
};

pub struct LedgerPeer(Ledger);

impl LedgerPeer {
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self(Ledger::open(dir)?))
    }
}

impl Peer for LedgerPeer {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn caller(&self, number: usize) -> Box<dyn FnMut() + '_> {
        let stream = stream(number as u64);
        let mut version = self.0.reader().stream(stream).expect("stream").map_or(0, |stream| stream.version);
        if version == 0 {
            self.0.append(stream, 0, vec![registered(stream)]).expect("append");
            let [requested, starting] = start(stream, 1);
            self.0.append(stream, 1, requested).expect("append");
            self.0.append(stream, 2, starting).expect("append");
            version = 4;
        }
        Box::new(move || {
            self.0.append(stream, version, vec![sampled_with_reason(stream, 1, version)]).expect("append");
            version += 1;
        })
    }
}
