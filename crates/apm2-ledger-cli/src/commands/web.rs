//! The command `web`, which serves the page of `report` with what happens now.

use std::net::SocketAddr;

use crate::{
    context::Context,
    error::CliError,
    report::gathered::Range,
    time::At,
    web::{self, server::Settings},
};

/// Serve the page of `report` live, on this machine alone
///
/// Prints the address to open. It contains a token that works once: the browser that opens it gets a cookie, and nothing else is
/// answered. Only loopback addresses are served. The page changes as events are recorded. It cannot change anything, unless
/// --allow-control lets it start, stop and restart processes; that is recorded as requested by the user of this command, with the
/// reason. Ends with SIGINT or SIGTERM.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger web
  apm2-ledger web --listen 127.0.0.1:8080 --since '2 hours ago'
  apm2-ledger web --listen '[::1]:0'
  apm2-ledger web --allow-control              start, stop and restart from the page")]
pub(crate) struct WebArgs {
    /// The loopback address to listen on; port 0 is any free port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", value_parser = parse_address)]
    listen: SocketAddr,
    /// The beginning of the period: a time or the sequence number of an event. Default: 24 hours ago
    #[arg(long, value_name = "TIME|SEQ")]
    since: Option<At>,
    /// Let the page start, stop and restart processes
    #[arg(long)]
    allow_control: bool,
}

/// Names are refused: what they mean may change.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let hint = "give a loopback address in full with a port, such as 127.0.0.1:8080, [::1]:8080, or 127.0.0.1:0 for any free port";
    text.parse().map_err(|_| hint.to_owned())
}

pub(crate) fn run(args: &WebArgs, context: &Context) -> Result<i32, CliError> {
    if !args.listen.ip().is_loopback() {
        let message = format!("{} is not a loopback address", args.listen.ip());
        return Err(CliError::usage(message).with_hint(
            "the page is served to this machine alone, without encryption; forward a port with `ssh -L` to see it elsewhere",
        ));
    }
    let range = Range { since: args.since, until: None };
    web::server::serve(Settings { listen: args.listen, range, can_control: args.allow_control }, context)
}
