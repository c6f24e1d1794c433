//! This library is empty: the package holds tests of whole systems.
//!
//! * `load/`: many processes allocate and release at the same time, on every store, while servers,
//!   connections and processes fail. Beside them runs an allocator that writes as Calico's does. Afterwards
//!   the stored records, read without the code under test, are compared with the answers that each process
//!   got.
//! * `differences/`: the known differences from Calico's own programs.
