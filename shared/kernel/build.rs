//! The migrations are embedded; a new file must make cargo look again.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
