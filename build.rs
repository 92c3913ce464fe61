//! What the program is linked with where the libc is musl's for x86_64: copies of bytes that are fast, and nothing to unwind by.

use std::env;

const COPIES: &str = "src/musl/memmove.c";
const DISCARD: &str = "src/musl/discard_unwinding.ld";

fn main() {
    println!("cargo::rerun-if-changed={COPIES}");
    println!("cargo::rerun-if-changed={DISCARD}");
    let variable = |key| env::var(key).unwrap_or_default();
    if variable("CARGO_CFG_TARGET_ENV") != "musl" || variable("CARGO_CFG_TARGET_ARCH") != "x86_64" {
        return;
    }
    cc::Build::new().file(COPIES).opt_level(3).flag("-fno-tree-loop-distribute-patterns").compile("memmove");
    // Release profiles abort at a panic, others unwind.
    if variable("PROFILE") == "release" {
        let root = variable("CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr,-T,{root}/{DISCARD}");
    }
}
