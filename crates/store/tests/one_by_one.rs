//! A store that applies batches write by write, and reads sets part by part, passes the conformance suite as
//! well: the suite asks for no more than the port promises.

use store::MemoryStore;
use store::testing::{Backend, FaultPlan, Faulty, Promises};

struct OneByOne;

impl Backend for OneByOne {
    type Store = Faulty<MemoryStore>;

    async fn fresh(&self) -> Faulty<MemoryStore> {
        Faulty::new(MemoryStore::new(), FaultPlan { split_reads: true, ..FaultPlan::one_by_one() })
    }

    fn promises(&self) -> Promises {
        Promises { transactions: false, ..Promises::default() }
    }
}

store::conformance!(OneByOne);
