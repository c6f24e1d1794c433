//! The architectures for which images are made, with the names that others give them.

use anyhow::{Result, bail};
use clap::ValueEnum;

/// An architecture of processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// 64 bits, of Intel and AMD.
    Amd64,
    /// 64 bits, of Arm.
    Arm64,
}

impl Architecture {
    /// That of this machine.
    ///
    /// # Errors
    /// When images are not made for it.
    pub fn of_this_machine() -> Result<Architecture> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Architecture::Amd64),
            "aarch64" => Ok(Architecture::Arm64),
            other => bail!("no images are made for {other}, only for x86_64 and aarch64"),
        }
    }

    /// The name by which Go, OCI and Debian know it.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Amd64 => "amd64",
            Architecture::Arm64 => "arm64",
        }
    }

    /// Rust's target for static programs.
    pub fn target(self) -> &'static str {
        match self {
            Architecture::Amd64 => "x86_64-unknown-linux-musl",
            Architecture::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// The name by which zig knows it, with musl.
    pub fn zig(self) -> &'static str {
        match self {
            Architecture::Amd64 => "x86_64-linux-musl",
            Architecture::Arm64 => "aarch64-linux-musl",
        }
    }

    /// The name of Debian's folders of libraries.
    pub fn triplet(self) -> &'static str {
        match self {
            Architecture::Amd64 => "x86_64-linux-gnu",
            Architecture::Arm64 => "aarch64-linux-gnu",
        }
    }

    /// Its number in the header of a program.
    pub fn machine(self) -> u16 {
        match self {
            Architecture::Amd64 => elf::abi::EM_X86_64,
            Architecture::Arm64 => elf::abi::EM_AARCH64,
        }
    }
}
