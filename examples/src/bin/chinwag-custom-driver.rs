//! The `custom_driver` example, where the tests find it.

use std::error::Error;

#[path = "../../custom_driver.rs"]
mod custom_driver;

fn main() -> Result<(), Box<dyn Error>> {
    custom_driver::main()
}
