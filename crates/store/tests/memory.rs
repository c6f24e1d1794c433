//! The store in memory passes the conformance suite.

use store::MemoryStore;
use store::testing::{Backend, Promises};

struct Memory;

impl Backend for Memory {
    type Store = MemoryStore;

    async fn fresh(&self) -> MemoryStore {
        MemoryStore::new()
    }

    fn promises(&self) -> Promises {
        Promises { transactions: false, ..Promises::default() }
    }
}

store::conformance!(Memory);
