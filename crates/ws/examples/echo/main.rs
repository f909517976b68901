//! A WebSocket server that sends every message back: the crate's use with hyper in full, and the target of Autobahn.
//!
//! `echo [ADDRESS [WINDOW_BITS]]` listens on the address (`127.0.0.1:0` unless told otherwise), prints the one it got
//! and agrees to permessage-deflate with the window (15).

mod server;

use std::error::Error;
use std::io::{self, Write as _};

use tidings_ws::deflate::WindowBits;
use tidings_ws::handshake::Terms;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let window = match arguments.next() {
        Some(bits) => WindowBits::new(bits.parse()?).ok_or("the window is 9 to 15 bits")?,
        None => WindowBits::MAX,
    };
    let listener = TcpListener::bind(address).await?;
    writeln!(io::stdout(), "ws://{}", listener.local_addr()?)?;
    let terms = Terms { deflate: Some(window), ..Terms::default() };
    server::serve(listener, terms, server::echo).await?;
    Ok(())
}
