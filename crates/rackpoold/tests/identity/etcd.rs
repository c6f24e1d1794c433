//! The same on etcd.

use servers::etcd_server::{self, EtcdServer};
use store::AnyStore;
use store::etcd::{EtcdOptions, EtcdStore};

use crate::home::{Home, block_on};
use crate::{record, tunnels};

#[test]
fn on_etcd() {
    if etcd_server::is_left_out() {
        return;
    }
    let server = EtcdServer::start();
    let endpoints = vec![server.endpoint()];
    block_on(async {
        let home = Home::of(AnyStore::Etcd(
            EtcdStore::open(EtcdOptions { endpoints, ..Default::default() }).unwrap(),
        ));
        record::says_everything(&home).await;
        record::leaves_what_is_others(&home).await;
        record::clears_fields(&home).await;
        record::refuses_taken_addresses(&home).await;
        tunnels::every_kind_in_one_write(&home).await;
    });
}
