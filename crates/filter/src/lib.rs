//! The one nftables table of a node: what leaves the cluster is translated, and tunnels and pods are
//! protected.
