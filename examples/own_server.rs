//! A server of one's own: the peer protocol on the same port as another gRPC service.
//!
//! `cargo run --example own_server`

mod two_parties;

use std::error::Error;

use arrow_flight::flight_service_server::FlightServiceServer;
use datafusion::prelude::{CsvReadOptions, SessionContext};
use datafusion_psi::{peer_server, register_all};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::Server;
use two_parties::TwoParties;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parties = TwoParties::on_disk().await?;

    // The advertiser's engine has a tonic server already; here, one that says that it is well.
    let (advertiser, budgets) = parties.party("advertiser")?;
    let address = advertiser.server.as_ref().map(|server| server.listen).ok_or("the policy has no [server]")?;
    let (health, health_service) = tonic_health::server::health_reporter();
    let peers = peer_server(&advertiser, budgets)?;
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    // Its connections have to be those of the peer protocol: by them a peer is known, and strangers are kept out.
    let incoming = peers.incoming(TcpListener::bind(address).await?)?;
    let server = Server::builder()
        .add_service(FlightServiceServer::new(peers.flight_service()))
        .add_service(health_service)
        .serve_with_incoming(incoming);
    let mut serving = JoinSet::new();
    serving.spawn(server);

    let mut ctx = SessionContext::new();
    let impressions = parties.file("publisher", "impressions.csv");
    ctx.register_csv("impressions", impressions.to_string_lossy(), CsvReadOptions::new()).await?;
    register_all(&mut ctx, parties.asker()?)?;
    let question = "SELECT PRIVATE_INTERSECT_AVG(p.amount) AS mean_sale
                    FROM impressions i JOIN advertiser.purchases p ON i.email = p.email";
    ctx.sql(question).await?.show().await?;

    // Running sessions end in words on both sides, before the server does.
    peers.stop();
    serving.shutdown().await;
    Ok(())
}
