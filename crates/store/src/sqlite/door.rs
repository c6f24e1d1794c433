//! The reader of rows, as a plain function, for tests of other crates.

use api::Key;
use rusqlite::Connection;
use rusqlite::types::Value as Cell;

use super::reading::as_seen;
use crate::read::Depth;
use crate::view::Slot;

/// What a row of key, revision and value tells about a record, whatever types the three have: somebody else
/// may have written them.
pub fn slot(key: Key, cells: [Cell; 3], depth: Depth) -> Slot {
    thread_local! {
        static MEMORY: Connection = Connection::open_in_memory().expect("memory is always there");
    }
    MEMORY.with(|memory| {
        let mut row = memory.prepare_cached("SELECT ?1, ?2, ?3").expect("the statement is right");
        let mut rows = row.query(cells).expect("it has three parameters");
        let row = rows.next().expect("nothing is locked").expect("it gives one row");
        as_seen(key, row, depth).unwrap_or_else(|_| panic!("a row of three cells is always read"))
    })
}
