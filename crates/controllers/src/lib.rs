//! What a cluster's controllers decide. Pure: they are told what there is, and the time.
