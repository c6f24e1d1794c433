//! Batches that are applied write by write, and reads part by part, pass the suite as well: it asks for no
//! more than the port promises.

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
