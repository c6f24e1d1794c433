//! Nothing of its own: the package holds tests of whole systems.
//!
//! * `load/`: many processes allocate and release at once, on every store, while servers, connections and
//!   processes fail; next to an allocator that writes as Calico's does. Afterwards a plain dump of the store
//!   is held against what every process was answered.
//! * `differences/`: what is known to differ from Calico's own programs.
