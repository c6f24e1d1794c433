//! `calicoctl datastore init`: checks the default pools, and creates what is missing.

use api::{Cidr, Family};
use resources::Identifier;
use resources::initialise::{DefaultPool, PoolOutcome};
use setup::Purpose;

use crate::Context;
use crate::cli::{self, Config};
use crate::commands::resource_set::Access;
use crate::failure::Failure;

/// The network of the default pool, where none is named.
const DEFAULT_IPV4: &str = "192.168.0.0/16";

/// Begin a store: what every cluster has, and default pools.
///
/// Creates only what is missing, so it can be run again. On Kubernetes this begins with the definitions of
/// the custom resources; existing definitions, Calico's own or ours, are left as they are.
///
/// The pool default-ipv4-ippool is 192.168.0.0/16 with IP in IP always and outgoing NAT, unless told
/// otherwise. Where --ipv4-cidr is not given, it is made only if there is no IPv4 pool yet. A pool
/// default-ipv6-ippool is made where --ipv6-cidr names its network. With --if-no-pools, both are made only
/// if there is no pool of their family yet.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The network of default-ipv4-ippool; none for no such pool [default: 192.168.0.0/16]
    #[arg(long, value_name = "CIDR")]
    ipv4_cidr: Option<String>,
    /// Prefix length of the IPv4 pool's blocks, 20 to 32 [default: 26]
    #[arg(long, value_name = "LENGTH", value_parser = cli::parse_int)]
    ipv4_block_size: Option<i64>,
    /// IP in IP of the IPv4 pool: Never, Always or CrossSubnet
    #[arg(long, value_name = "MODE", default_value = "Always")]
    ipv4_ipip: String,
    /// VXLAN of the IPv4 pool: Never, Always or CrossSubnet; IP in IP is then Never
    #[arg(long, value_name = "MODE", default_value = "Never")]
    ipv4_vxlan: String,
    /// Leave the IPv4 pool's addresses visible outside of the cluster
    #[arg(long)]
    ipv4_no_nat: bool,
    /// The network of default-ipv6-ippool; none for no such pool
    #[arg(long, value_name = "CIDR", default_value = "none")]
    ipv6_cidr: String,
    /// Prefix length of the IPv6 pool's blocks, 116 to 128 [default: 122]
    #[arg(long, value_name = "LENGTH", value_parser = cli::parse_int)]
    ipv6_block_size: Option<i64>,
    /// VXLAN of the IPv6 pool: Never, Always or CrossSubnet
    #[arg(long, value_name = "MODE", default_value = "Never")]
    ipv6_vxlan: String,
    /// Hide the IPv6 pool's addresses from the outside of the cluster
    #[arg(long)]
    ipv6_nat: bool,
    /// Make default pools only of families that have no pool yet, whatever their networks
    #[arg(long)]
    if_no_pools: bool,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(0, &args.words).map_err(Failure::Message)?;
    let pools = pools(args).map_err(Failure::Message)?;
    #[cfg(feature = "kubernetes")]
    super::define::run(&args.config, context)?;
    let session = Access::with(Purpose::Begin, args.config.config.as_deref(), context)?.quiet_session()?;
    // Both pools are checked by themselves before anything is created.
    for pool in &pools {
        let resource = api::defaults::on_write(&pool.resource());
        api::validate::resource(&resource)
            .map_err(|error| Failure::in_calico_words(format!("IPPool {}: {error}", pool.name)))?;
    }
    let failed = |error: resources::Error| Failure::in_calico_words(error.to_string());
    session.wait(session.client().ensure_initialised()).map_err(failed)?;
    for pool in &pools {
        let family = pool.cidr.family();
        let is_asked = !args.if_no_pools && (family == Family::V6 || args.ipv4_cidr.is_some());
        let is_there = || session.wait(session.client().get(&Identifier::of(&pool.resource()))).is_ok();
        if !is_asked && !is_there() && session.wait(session.client().has_pool(family)).map_err(failed)? {
            writeln!(context.stdout, "{family} pools exist: no IPPool {} was made", pool.name)?;
            continue;
        }
        let ensured = session.wait(session.client().ensure_pool(pool));
        let (what, resource) = match ensured.map_err(|error| match error {
            resources::Error::AlreadyExists(..) => Failure::in_calico_words(format!(
                "IPPool {} exists with another network than {}; nothing was changed about it",
                pool.name, pool.cidr
            )),
            other => failed(other),
        })? {
            PoolOutcome::Created(resource) => ("Created", resource),
            PoolOutcome::There(resource) => ("Exists:", resource),
        };
        writeln!(context.stdout, "{what} IPPool {} {}", resource.name(), pool.cidr)?;
    }
    super::settle(&session, context)?;
    match &session.datastore {
        setup::Datastore::Embedded { path, .. } => {
            writeln!(context.stdout, "Datastore initialised: {}", path.display())?;
        }
        other => writeln!(context.stdout, "Datastore initialised: {}", other.place())?,
    }
    Ok(())
}

fn pools(args: &Args) -> Result<Vec<DefaultPool>, String> {
    let size = |size: Option<i64>| {
        size.map(|n| u8::try_from(n).map_err(|_| format!("{n} is no block size"))).transpose()
    };
    let mut pools = Vec::new();
    let of =
        |flag: &str, text: &str, family| network(text, family).map_err(|error| format!("{flag}: {error}"));
    if let Some(cidr) = of("--ipv4-cidr", args.ipv4_cidr.as_deref().unwrap_or(DEFAULT_IPV4), Family::V4)? {
        let tunnelled = args.ipv4_vxlan != "Never";
        pools.push(DefaultPool {
            name: "default-ipv4-ippool".to_string(),
            cidr,
            block_size: size(args.ipv4_block_size)?,
            ipip_mode: if tunnelled { "Never".to_string() } else { args.ipv4_ipip.clone() },
            vxlan_mode: args.ipv4_vxlan.clone(),
            nat_outgoing: !args.ipv4_no_nat,
        });
    }
    if let Some(cidr) = of("--ipv6-cidr", &args.ipv6_cidr, Family::V6)? {
        pools.push(DefaultPool {
            name: "default-ipv6-ippool".to_string(),
            cidr,
            block_size: size(args.ipv6_block_size)?,
            ipip_mode: "Never".to_string(),
            vxlan_mode: args.ipv6_vxlan.clone(),
            nat_outgoing: args.ipv6_nat,
        });
    }
    Ok(pools)
}

fn network(text: &str, family: Family) -> Result<Option<Cidr>, String> {
    if text == "none" {
        return Ok(None);
    }
    let (cidr, typed) = Cidr::parse_unmasked(text).map_err(|_| format!("'{text}' is no network"))?;
    if cidr.family() != family {
        return Err(format!("'{text}' is no {family} network"));
    }
    if cidr.first() != typed {
        return Err(format!("'{text}' is not the start of a /{}; it lies in {cidr}", cidr.prefix()));
    }
    Ok(Some(cidr))
}
