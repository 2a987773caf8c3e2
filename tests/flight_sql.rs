//! Flight SQL as analysts meet it: over TLS, on the port where peers ask, with a real peer on the other side.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "flight_sql/kit.rs"]
mod kit;

use std::time::Duration;

use arrow::array::{Array, BinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    Any, Command, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetPrimaryKeys,
    CommandGetTables, CommandGetXdbcTypeInfo, CommandStatementQuery, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria, Empty, FlightData,
    FlightDescriptor, FlightInfo, HandshakeRequest, Ticket,
};
use datafusion::common::runtime::SpawnedTask;
use datafusion_psi::flight_sql::SqlLimits;
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use kit::{COMMON, Client, Kit, QUESTION, SHOPPERS, Who, number, query, rows, texts};

fn statement(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// A setting of private queries.
const TIMEOUT: &str = "SELECT value FROM information_schema.df_settings WHERE name = 'psi.timeout_seconds'";

/// A stream that waits for its next message for no longer than a test may.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("no call may hang")
}

#[tokio::test]
async fn an_analyst_gets_what_the_command_line_gives_by_certificate_and_by_token() {
    let kit = Kit::open().await;
    for mut client in [kit.ana().await, kit.ben().await] {
        let count = within(query(&mut client, QUESTION)).await.unwrap();
        assert_eq!(number(&count), COMMON);
        assert_eq!(number(&query(&mut client, "SELECT COUNT(*) FROM readers").await.unwrap()), SHOPPERS);
        let refused = query(&mut client, "SELECT email FROM shop.people").await.unwrap_err();
        assert!(refused.contains("its rows stay with shop"), "{refused}");
    }
    let mut client = kit.ana().await;
    let left = "SELECT queries_left FROM psi.budget WHERE peer = 'shop'";
    assert!(query(&mut client, left).await.is_ok());
    let explained = query(&mut client, &format!("EXPLAIN {QUESTION}")).await.unwrap();
    assert!(texts(&explained, "plan").join("\n").contains("PrivateQueryExec"), "{explained:?}");
    assert_eq!((kit.asked(), kit.ends_at_the_shop().await.len()), (2, 2));
}

#[tokio::test]
async fn a_name_and_a_token_make_a_handshake_whose_bearer_token_works() {
    let kit = Kit::open().await;
    let mut client = Client::new(kit.channel(Who::Nobody).await);
    assert!(client.execute("SELECT 1".to_owned(), None).await.is_err());
    client.handshake("ben", &kit.ben).await.unwrap();
    assert_eq!(client.token(), Some(&kit.ben));
    assert_eq!(number(&query(&mut client, "SELECT 1").await.unwrap()), 1);
    for (name, token, words) in [
        ("ana", kit.ben.as_str(), "does not know this user name and token"),
        ("ben", "guess", "does not know this user name and token"),
        ("old", kit.old.as_str(), "the token of 'old' expired at the end of 2020-01-01"),
    ] {
        let mut client = Client::new(kit.channel(Who::Nobody).await);
        let error = client.handshake(name, token).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    // As older clients do it: in the first message.
    let said = arrow_flight::BasicAuth { username: "ben".to_owned(), password: kit.ben.clone() };
    let first = HandshakeRequest { protocol_version: 0, payload: said.encode_to_vec().into() };
    let mut plain = FlightServiceClient::new(kit.channel(Who::Nobody).await);
    let mut answer = plain.handshake(stream::iter([first])).await.unwrap();
    assert_eq!(answer.metadata().get("authorization").unwrap().to_str().unwrap(), format!("Bearer {}", kit.ben));
    assert_eq!(answer.get_mut().message().await.unwrap().unwrap().payload, kit.ben.as_bytes());
}

/// Every method of Flight SQL, with something in it that exists and something that does not.
async fn every_method(channel: &Channel, token: Option<&str>) -> Vec<(&'static str, Status)> {
    let mut client = FlightServiceClient::new(channel.clone());
    fn with<T>(message: T, token: Option<&str>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        request
    }
    let mut heard = Vec::new();
    macro_rules! hear {
        ($method:literal, $call:expr) => {
            heard.push(($method, $call.await.map(|_| ()).expect_err($method)));
        };
    }
    let tables = CommandGetTables::default().as_any().encode_to_vec();
    let ticket = TicketStatementQuery { statement_handle: "00".into() }.as_any().encode_to_vec();
    for cmd in [statement(QUESTION), statement("nonsense"), FlightDescriptor::new_cmd("nonsense")] {
        hear!("GetFlightInfo", client.get_flight_info(with(cmd.clone(), token)));
        hear!("GetSchema", client.get_schema(with(cmd.clone(), token)));
        hear!("PollFlightInfo", client.poll_flight_info(with(cmd, token)));
    }
    hear!(
        "GetFlightInfo of a path",
        client.get_flight_info(with(FlightDescriptor::new_path(vec!["readers".into()]), token))
    );
    for body in [tables, ticket, b"nonsense".to_vec()] {
        hear!("DoGet", client.do_get(with(Ticket::new(body), token)));
    }
    for action in
        ["CreatePreparedStatement", "CancelQuery", "CancelFlightInfo", "CloseSession", "GetSessionOptions", "x"]
    {
        hear!("DoAction", client.do_action(with(Action::new(action, "nonsense"), token)));
    }
    hear!("ListActions", client.list_actions(with(Empty {}, token)));
    hear!("ListFlights", client.list_flights(with(Criteria { expression: "readers".into() }, token)));
    let first = FlightData::new().with_descriptor(statement("SET psi.progress = false"));
    hear!("DoPut", client.do_put(with(stream::iter([first]), token)));
    hear!("DoPut of nothing", client.do_put(with(stream::empty(), token)));
    hear!("Handshake", client.handshake(with(stream::iter([HandshakeRequest::default()]), token)));
    heard
}

#[tokio::test]
async fn strangers_hear_the_same_whatever_they_ask_for_and_in_words() {
    let kit = Kit::open().await;
    let wrong = format!("{}0", kit.ben);
    for (who, token, words) in [
        (Who::Nobody, None, "connect with a client certificate or a token"),
        (Who::Holder("stranger"), None, "unknown certificate sha256:"),
        (Who::Holder("gone"), None, "the analyst's certificate expired on"),
        (Who::Nobody, Some(wrong.as_str()), "paper does not know this token"),
        (Who::Nobody, Some(kit.old.as_str()), "the token of 'old' expired at the end of 2020-01-01"),
    ] {
        let channel = kit.channel(who).await;
        let heard = every_method(&channel, token).await;
        for (method, status) in &heard {
            assert_eq!(status.code(), Code::Unauthenticated, "{who:?} {method}: {status}");
            assert_eq!(status.message(), heard[0].1.message(), "{who:?} {method}");
        }
        assert!(heard[0].1.message().contains(words), "{}", heard[0].1.message());
    }
}

#[tokio::test]
async fn a_peer_cannot_run_sql_and_an_analyst_cannot_ask_as_a_peer() {
    let kit = Kit::open().await;
    let shop = kit.channel(Who::Holder("shop")).await;
    for token in [None, Some(kit.ben.as_str())] {
        let heard = every_method(&shop, token).await;
        for (method, status) in &heard {
            assert_eq!(status.code(), Code::PermissionDenied, "{method}: {status}");
            assert!(status.message().contains("that of the peer 'shop'"), "{method}: {status}");
        }
    }
    // What a peer is for goes on: the shop may ask what paper shares, which is nothing.
    let mut peer = FlightServiceClient::new(shop);
    let listed = peer.list_flights(Criteria { expression: "psi/1".into() }).await.unwrap().into_inner();
    assert_eq!(listed.count().await, 0);

    let path = || FlightDescriptor::new_path(vec!["psi/1".into(), "share".into(), "readers".into()]);
    for (who, token) in [(Who::Holder("ana"), None), (Who::Nobody, Some(kit.ben.as_str()))] {
        let mut client = FlightServiceClient::new(kit.channel(who).await);
        let with = |metadata: &mut tonic::metadata::MetadataMap| {
            if let Some(token) = token {
                metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
            }
            metadata.insert("psi-party", "shop".parse().unwrap());
        };
        let mut listing = Request::new(Criteria { expression: "psi/1".into() });
        with(listing.metadata_mut());
        let (mut schema, mut info) = (Request::new(path()), Request::new(path()));
        with(schema.metadata_mut());
        with(info.metadata_mut());
        let hello = FlightDescriptor::new_path(vec!["psi/1".into(), "0".repeat(32), "hello".into()]);
        let mut exchange = Request::new(stream::iter([FlightData::new().with_descriptor(hello)]));
        with(exchange.metadata_mut());
        for status in [
            client.list_flights(listing).await.map(|_| ()).unwrap_err(),
            client.get_schema(schema).await.map(|_| ()).unwrap_err(),
            client.get_flight_info(info).await.map(|_| ()).unwrap_err(),
            client.do_exchange(exchange).await.map(|_| ()).unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::PermissionDenied, "{status}");
            assert!(status.message().contains("paper answers peers alone"), "{status}");
        }
    }
    assert!(kit.paper.sessions().unwrap().is_empty() && kit.shop.sessions().unwrap().is_empty());
}

#[tokio::test]
async fn a_ticket_is_fetched_once_by_its_owner_and_nothing_is_charged_before_or_twice() {
    let kit = Kit::open().await;
    let (mut ana, mut ben) = (kit.ana().await, kit.ben().await);
    let info = ana.execute(QUESTION.to_owned(), None).await.unwrap();
    assert_eq!(info.clone().try_decode_schema().unwrap().field(0).name(), "n");
    assert_eq!(kit.asked(), 0, "planned is not asked");
    let stolen = rows(&mut ben, info.clone()).await.unwrap_err();
    assert_eq!(number(&within(rows(&mut ana, info.clone())).await.unwrap()), COMMON);
    let again = rows(&mut ana, info.clone()).await.unwrap_err();
    assert!(
        stolen.contains("no result waits under this ticket") && again.contains("no result waits"),
        "{stolen} {again}"
    );
    assert_eq!(kit.asked(), 1);
    // From another connection of the same analyst, once more by being asked once more.
    let info = ana.execute(QUESTION.to_owned(), None).await.unwrap();
    assert_eq!(number(&within(rows(&mut kit.ana().await, info)).await.unwrap()), COMMON);
    assert_eq!(kit.asked(), 2);
    for ticket in ["", "nonsense"] {
        let unknown = ana.do_get(Ticket::new(ticket)).await.err().unwrap().to_string();
        assert!(unknown.to_lowercase().contains("invalid") || unknown.contains("ticket"), "{unknown}");
    }
}

#[tokio::test]
async fn settings_views_and_tables_stick_to_their_session_and_end_with_it() {
    let kit = Kit::open().await;
    let mut ana = kit.ana().await;
    // As a query and as an update: both run when they are asked for.
    ana.execute("SET psi.timeout_seconds = 77".to_owned(), None).await.unwrap();
    assert_eq!(ana.execute_update("CREATE VIEW v AS SELECT 7 AS x".to_owned(), None).await.unwrap(), 0);
    ana.execute_update("CREATE TABLE t AS SELECT email FROM readers LIMIT 5".to_owned(), None).await.unwrap();
    assert_eq!(texts(&query(&mut ana, TIMEOUT).await.unwrap(), "value"), ["77"]);
    assert_eq!(number(&query(&mut ana, "SELECT COUNT(*) + SUM(x) FROM t CROSS JOIN v GROUP BY x").await.unwrap()), 40);
    let twice = ana.execute_update("CREATE TABLE t AS SELECT 1 AS x".to_owned(), None).await.unwrap_err().to_string();
    assert!(twice.contains("exists already"), "{twice}");
    ana.execute_update("CREATE OR REPLACE TABLE t AS SELECT 1 AS x".to_owned(), None).await.unwrap();
    assert_eq!(number(&query(&mut ana, "SELECT COUNT(*) FROM t").await.unwrap()), 1);
    // A private query is not run where its answer could not be kept.
    let peers = format!("CREATE TABLE shop.kept AS {QUESTION}");
    let refused = ana.execute_update(peers, None).await.unwrap_err().to_string();
    assert!(refused.contains("a peer's schema") && kit.asked() == 0, "{refused}");
    let columns = "CREATE TABLE double AS SELECT 1 AS x, 2 AS x".to_owned();
    assert!(ana.execute_update(columns, None).await.is_err());
    let rows_lost = ana.execute_update(QUESTION.to_owned(), None).await.unwrap_err().to_string();
    assert!(rows_lost.contains("run it as a query") && kit.asked() == 0, "{rows_lost}");
    let kept = format!("CREATE TABLE kept AS {QUESTION}");
    ana.execute_update(kept, None).await.unwrap();
    assert_eq!(number(&query(&mut ana, "SELECT n FROM kept").await.unwrap()), COMMON);
    assert_eq!(kit.asked(), 1);

    let mut other = kit.ana().await;
    assert!(query(&mut other, "SELECT * FROM t").await.is_err(), "another connection, another session");
    assert_ne!(texts(&query(&mut other, TIMEOUT).await.unwrap(), "value"), ["77"]);
    for (refused, words) in [
        ("COPY readers TO '/tmp/leak.parquet'", "COPY is refused here"),
        ("INSERT INTO t VALUES (1)", "INSERT"),
        ("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", "CREATE EXTERNAL TABLE is refused here"),
        ("SET datafusion.runtime.memory_limit = '1T'", "memory_mb in [limits]"),
    ] {
        for error in [
            ana.execute(refused.to_owned(), None).await.unwrap_err().to_string(),
            ana.execute_update(refused.to_owned(), None).await.unwrap_err().to_string(),
        ] {
            assert!(error.contains(words), "{error}");
        }
    }
    assert!(!std::path::Path::new("/tmp/leak.parquet").exists());
}

/// One action, answered by one body.
async fn action(client: &mut FlightServiceClient<Channel>, cookie: Option<&str>, name: &str, body: Vec<u8>) -> Vec<u8> {
    let mut request = Request::new(Action::new(name, body));
    if let Some(cookie) = cookie {
        request.metadata_mut().insert("cookie", cookie.parse().unwrap());
    }
    let answer = client.do_action(request).await.unwrap().into_inner().try_collect::<Vec<_>>().await.unwrap();
    answer[0].body.to_vec()
}

#[tokio::test]
async fn a_session_goes_on_over_another_connection_by_its_cookie_and_for_its_owner_alone() {
    let kit = Kit::open().await;
    let set = "SET psi.timeout_seconds = 99";
    let mut first = FlightServiceClient::new(kit.channel(Who::Holder("ana")).await);
    let answer = first.get_flight_info(statement(set)).await.unwrap();
    let cookie = answer.metadata().get("set-cookie").unwrap().to_str().unwrap().split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("arrow_flight_session_id="), "{cookie}");
    let again = first.get_flight_info(statement("SELECT 1")).await.unwrap();
    assert!(again.metadata().get("set-cookie").is_none(), "once");
    // Options by their own messages: GetSessionOptions has an empty body, and says all of them.
    let said = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains("psi.timeout_seconds\u{12}\u{4}\n\u{2}99");
    let mut second = FlightServiceClient::new(kit.channel(Who::Holder("ana")).await);
    assert!(said(action(&mut second, Some(&cookie), "GetSessionOptions", vec![]).await));
    assert!(!said(action(&mut second, None, "GetSessionOptions", vec![]).await));
    drop(first);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(said(action(&mut second, Some(&cookie), "GetSessionOptions", vec![]).await), "it outlives its connection");
    let mut ben = FlightServiceClient::new(kit.channel(Who::Nobody).await);
    let mut request = Request::new(Action::new("GetSessionOptions", vec![]));
    request.metadata_mut().insert("cookie", cookie.parse().unwrap());
    request.metadata_mut().insert("authorization", format!("Bearer {}", kit.ben).parse().unwrap());
    let answer = ben.do_action(request).await.unwrap().into_inner().try_collect::<Vec<_>>().await.unwrap();
    assert!(!said(answer[0].body.to_vec()), "another analyst's cookie is none");
    assert_eq!(action(&mut second, Some(&cookie), "CloseSession", vec![]).await, [8, 1]);
    assert!(!said(action(&mut second, Some(&cookie), "GetSessionOptions", vec![]).await), "closed is gone");
    // SetSessionOptions { schema = 'shop' }, then a table of the shop without its schema.
    let mut body = vec![0x0a, 16, 0x0a, 6];
    body.extend(b"schema");
    body.extend([0x12, 6, 0x0a, 4]);
    body.extend(b"shop");
    assert!(action(&mut second, None, "SetSessionOptions", body).await.is_empty(), "no errors");
    let schema = second.get_schema(statement("SELECT * FROM people")).await;
    assert!(schema.is_ok(), "{schema:?}");
}

#[tokio::test]
async fn prepared_statements_are_bound_run_and_closed() {
    let kit = Kit::open().await;
    let mut ana = kit.ana().await;
    let mut prepared =
        ana.prepare("SELECT COUNT(*) AS n FROM readers WHERE amount < ?".to_owned(), None).await.unwrap();
    assert_eq!(prepared.parameter_schema().unwrap().field(0).data_type(), &DataType::Int64);
    assert_eq!(prepared.dataset_schema().unwrap().field(0).name(), "n");
    for (bound, due) in [(10, SHOPPERS / 5), (25, SHOPPERS / 2)] {
        let values =
            RecordBatch::try_from_iter([("$1", std::sync::Arc::new(Int64Array::from(vec![bound])) as _)]).unwrap();
        prepared.set_parameters(values).unwrap();
        let info = prepared.execute().await.unwrap();
        assert_eq!(number(&rows(&mut ana, info).await.unwrap()), due);
    }
    let two = RecordBatch::try_from_iter([("$1", std::sync::Arc::new(Int64Array::from(vec![1, 2])) as _)]).unwrap();
    prepared.set_parameters(two).unwrap();
    let refused = prepared.execute().await.unwrap_err().to_string();
    assert!(refused.contains("2 rows of parameters"), "{refused}");
    prepared.close().await.unwrap();

    // A private one: prepared without a charge, and with one for each run that is asked for.
    let text = format!("{QUESTION} WHERE r.amount >= $1");
    let mut private = ana.prepare(text, None).await.unwrap();
    let least = RecordBatch::try_from_iter([("$1", std::sync::Arc::new(Int64Array::from(vec![0])) as _)]).unwrap();
    private.set_parameters(least).unwrap();
    assert_eq!(kit.asked(), 0);
    for runs in 1..=2 {
        let info = private.execute().await.unwrap();
        assert_eq!(number(&within(rows(&mut ana, info)).await.unwrap()), COMMON);
        assert_eq!(kit.asked(), runs);
    }
    private.close().await.unwrap();
    let mut set = ana.prepare("SET psi.progress = false".to_owned(), None).await.unwrap();
    assert_eq!(set.execute_update().await.unwrap(), 0);
    set.close().await.unwrap();
    assert!(ana.prepare("SELECT nonsense FROM readers".to_owned(), None).await.is_err());
    assert!(ana.begin_transaction().await.unwrap_err().to_string().contains("no transactions"));
}

#[tokio::test]
async fn tools_find_catalogs_schemas_tables_with_columns_and_what_the_server_can_do() {
    let kit = Kit::open().await;
    let mut ana = kit.ana().await;
    let info = ana.get_catalogs().await.unwrap();
    assert_eq!(texts(&rows(&mut ana, info).await.unwrap(), "catalog_name"), ["datafusion"]);
    let info = ana.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    let schemas = texts(&rows(&mut ana, info).await.unwrap(), "db_schema_name");
    assert!(["psi", "public", "shop"].iter().all(|name| schemas.iter().any(|found| found == name)), "{schemas:?}");
    // A peer's tables are there before anybody has named one.
    let all = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let info = ana.get_tables(all).await.unwrap();
    let tables = rows(&mut ana, info).await.unwrap();
    let names = texts(&tables, "table_name");
    assert!(["people", "readers", "budget", "audit"].iter().all(|name| names.iter().any(|n| n == name)), "{names:?}");
    let at = names.iter().position(|name| name == "people").unwrap();
    let schema =
        tables[0].column_by_name("table_schema").unwrap().as_any().downcast_ref::<BinaryArray>().unwrap().clone();
    let schema = Schema::try_from(arrow_flight::IpcMessage(schema.value(at).to_vec().into())).unwrap();
    let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(columns, ["email", "amount"]);
    assert_eq!(schema.field(0).data_type(), &DataType::Utf8, "a type that every client knows");
    let wanted = CommandGetTables {
        db_schema_filter_pattern: Some("sh%".to_owned()),
        table_types: vec!["TABLE".to_owned()],
        ..CommandGetTables::default()
    };
    let info = ana.get_tables(wanted).await.unwrap();
    assert_eq!(texts(&rows(&mut ana, info).await.unwrap(), "table_name"), ["people"]);
    let info = ana.get_table_types().await.unwrap();
    assert_eq!(texts(&rows(&mut ana, info).await.unwrap(), "table_type"), ["TABLE", "VIEW"]);
    let asked = vec![SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerCancel, SqlInfo::FlightSqlServerTransaction];
    let info = ana.get_sql_info(asked).await.unwrap();
    assert_eq!(rows(&mut ana, info).await.unwrap()[0].num_rows(), 3);
    let info = ana.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    assert!(texts(&rows(&mut ana, info).await.unwrap(), "type_name").contains(&"BIGINT".to_owned()));
    let table = || "people".to_owned();
    for info in [
        ana.get_primary_keys(CommandGetPrimaryKeys { catalog: None, db_schema: None, table: table() }).await.unwrap(),
        ana.get_exported_keys(CommandGetExportedKeys { catalog: None, db_schema: None, table: table() }).await.unwrap(),
        ana.get_cross_reference(CommandGetCrossReference {
            pk_table: table(),
            fk_table: table(),
            ..Default::default()
        })
        .await
        .unwrap(),
    ] {
        let due = info.clone().try_decode_schema().unwrap();
        let keys = rows(&mut ana, info).await.unwrap();
        assert!(keys.iter().all(|batch| batch.num_rows() == 0) && !due.fields().is_empty());
    }
    let mut plain = FlightServiceClient::new(kit.channel(Who::Holder("ana")).await);
    let listed = plain.list_actions(Empty {}).await.unwrap().into_inner().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(listed.len(), 7);
    assert_eq!(plain.list_flights(Criteria::default()).await.unwrap().into_inner().count().await, 0);
    let schema = plain.get_schema(statement(QUESTION)).await.unwrap().into_inner();
    assert_eq!(Schema::try_from(schema).unwrap(), Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    assert_eq!(kit.asked(), 0);
}

/// Starts a question over a network that is held, and waits until it is under way.
async fn held(kit: &Kit, client: &mut FlightServiceClient<Channel>) -> arrow_flight::PollInfo {
    kit.network.hold_after(40_000);
    let mut poll = client.poll_flight_info(statement(QUESTION)).await.unwrap().into_inner();
    for _ in 0..100 {
        let began = poll.progress.is_some_and(|part| part > 0.0);
        if began && kit.shop.sessions().unwrap().len() == 1 {
            return poll;
        }
        poll = client.poll_flight_info(poll.flight_descriptor.clone().unwrap()).await.unwrap().into_inner();
    }
    panic!("the question does not get going: {poll:?}");
}

/// A question that was stopped is over on both sides, with the network still held.
async fn is_over(kit: &Kit) {
    let ends = kit.ends_at_the_shop().await;
    assert!(ends.len() == 1 && ends[0] != "released", "{ends:?}");
    for _ in 0..200 {
        if kit.network.open() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{} connections to the shop stay open", kit.network.open());
}

#[tokio::test]
async fn cancelling_a_running_question_stops_it_on_both_sides() {
    let kit = Kit::open().await;
    let mut client = FlightServiceClient::new(kit.channel(Who::Holder("ana")).await);
    let poll = held(&kit, &mut client).await;
    let info = poll.info.clone().unwrap();
    // By somebody else it is not there to be cancelled.
    let mut ben = FlightServiceClient::new(kit.channel(Who::Nobody).await);
    let body = CancelFlightInfoRequest::new(info.clone()).encode_to_vec();
    let mut request = Request::new(Action::new("CancelFlightInfo", body.clone()));
    request.metadata_mut().insert("authorization", format!("Bearer {}", kit.ben).parse().unwrap());
    let answer = ben.do_action(request).await.unwrap().into_inner().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(CancelFlightInfoResult::decode(answer[0].body.as_ref()).unwrap().status(), CancelStatus::NotCancellable);
    let answer = action(&mut client, None, "CancelFlightInfo", body.clone()).await;
    assert_eq!(CancelFlightInfoResult::decode(answer.as_slice()).unwrap().status(), CancelStatus::Cancelled);
    is_over(&kit).await;
    let gone = client.poll_flight_info(poll.flight_descriptor.unwrap()).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound, "{gone}");
    let answer = action(&mut client, None, "CancelFlightInfo", body).await;
    assert_eq!(CancelFlightInfoResult::decode(answer.as_slice()).unwrap().status(), CancelStatus::NotCancellable);
    assert_eq!(kit.asked(), 1, "what was charged stays charged");
}

#[tokio::test]
async fn a_result_that_is_being_fetched_is_cancelled_in_words_by_the_older_action_too() {
    let kit = Kit::open().await;
    kit.network.hold_after(40_000);
    let mut ana = kit.ana().await;
    let info = ana.execute(QUESTION.to_owned(), None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut fetching = ana.inner().clone().do_get(ticket.clone()).await.unwrap().into_inner();
    for _ in 0..200 {
        if kit.shop.sessions().unwrap().len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let second = ana.inner().clone().do_get(ticket).await.unwrap_err();
    assert_eq!(second.code(), Code::FailedPrecondition, "{second}");
    let body = arrow_flight::sql::ActionCancelQueryRequest { info: info.encode_to_vec().into() }.as_any();
    let mut plain = ana.inner().clone();
    let answer = action(&mut plain, None, "CancelQuery", body.encode_to_vec()).await;
    let any = Any::decode(answer.as_slice()).unwrap();
    assert!(matches!(Command::try_from(any).unwrap(), Command::ActionCancelQueryResult(result) if result.result == 1));
    let end = within(async {
        loop {
            match fetching.message().await {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    })
    .await;
    let cancelled = end.unwrap_err();
    assert!(cancelled.code() == Code::Cancelled && cancelled.message().contains("ended on both sides"), "{cancelled}");
    is_over(&kit).await;
}

#[tokio::test]
async fn who_goes_away_or_closes_the_session_stops_what_runs_in_it() {
    for way in ["stream", "session", "connection", "service"] {
        let kit = Kit::open().await;
        let mut client = FlightServiceClient::new(kit.channel(Who::Holder("ana")).await);
        let poll = held(&kit, &mut client).await;
        match way {
            "stream" => {
                // Fetched before it is ready, and dropped.
                let any = poll.flight_descriptor.unwrap().cmd;
                let fetching = client.do_get(Ticket::new(any)).await.unwrap();
                drop(fetching);
            }
            "session" => drop(action(&mut client, None, "CloseSession", vec![]).await),
            "service" => kit.sql.stop(),
            _ => {
                // A session that lives by its connection alone, while something runs, ends when nobody comes for it.
                drop(client);
                kit.sql.stop();
            }
        }
        is_over(&kit).await;
    }
}

#[tokio::test]
async fn a_poll_says_how_far_a_question_is_and_then_where_its_rows_are() {
    let kit = Kit::open().await;
    let mut client = FlightServiceClient::new(kit.channel(Who::Holder("ana")).await);
    let mut poll = held(&kit, &mut client).await;
    let part = poll.progress.unwrap();
    assert!(part > 0.0 && part < 1.0, "{part}");
    let info = poll.info.clone().unwrap();
    assert!(info.endpoint.is_empty() && String::from_utf8_lossy(&info.app_metadata).contains("hello"), "{info:?}");
    kit.network.hold_after(u64::MAX);
    let mut last = part;
    let info: FlightInfo = within(async {
        while let Some(next) = poll.flight_descriptor {
            poll = client.poll_flight_info(next).await.unwrap().into_inner();
            assert!(poll.progress.unwrap() >= last);
            last = poll.progress.unwrap();
        }
        poll.info.unwrap()
    })
    .await;
    assert_eq!((last, info.endpoint.len()), (1.0, 1));
    let mut ana = kit.ana().await;
    assert_eq!(number(&rows(&mut ana, info).await.unwrap()), COMMON);
    assert_eq!(kit.asked(), 1, "polled and fetched is asked once");
    // What fails, fails in the poll, by its own words.
    let failed = client.poll_flight_info(statement("SELECT email FROM shop.people")).await.unwrap_err();
    assert!(failed.message().contains("its rows stay with shop"), "{failed}");
    let later = "SELECT CAST(email AS BIGINT) AS n FROM readers";
    let mut failing = client.poll_flight_info(statement(later)).await;
    while let Ok(answer) = &failing {
        let next = answer.get_ref().flight_descriptor.clone().expect("it does not succeed");
        failing = client.poll_flight_info(next).await;
    }
    assert!(failing.unwrap_err().message().contains("person"), "the engine's words");
    // An effect, and a listing, are complete at once.
    for done in [
        statement("SET psi.progress = true"),
        FlightDescriptor::new_cmd(CommandGetTables::default().as_any().encode_to_vec()),
    ] {
        let poll = client.poll_flight_info(done).await.unwrap().into_inner();
        assert!(poll.flight_descriptor.is_none() && poll.info.is_some_and(|info| info.endpoint.len() == 1));
    }
}

#[tokio::test]
async fn every_limit_is_said_in_words_at_its_number() {
    let limits = SqlLimits {
        sessions_max: 3,
        sessions_per_analyst_max: 2,
        statements_per_session_max: 2,
        results_per_session_max: 2,
        running_max: 1,
        running_per_analyst_max: 1,
        text_bytes_max: 100,
        ..SqlLimits::default()
    };
    let kit = Kit::with(limits, true).await;
    let mut ana = kit.ana().await;
    let one = || "SELECT 1".to_owned();
    let words = |error: arrow_flight::error::FlightError| error.to_string();
    // Results: two wait, the third does not fit; one is fetched, and it does.
    let first = ana.execute(one(), None).await.unwrap();
    ana.execute(one(), None).await.unwrap();
    let full = words(ana.execute(one(), None).await.unwrap_err());
    assert!(full.contains("2 results of this session wait"), "{full}");
    rows(&mut ana, first).await.unwrap();
    let third = ana.execute(one(), None).await.unwrap();
    rows(&mut ana, third).await.unwrap();
    // Statements: prepared ones and views together.
    let prepared = ana.prepare(one(), None).await.unwrap();
    ana.execute_update("CREATE VIEW v AS SELECT 1".to_owned(), None).await.unwrap();
    assert!(words(ana.prepare(one(), None).await.err().unwrap()).contains("keeps 2 prepared statements"));
    let view = ana.execute_update("CREATE VIEW w AS SELECT 1".to_owned(), None).await;
    assert!(words(view.unwrap_err()).contains("keeps 2 prepared statements"));
    ana.execute_update("CREATE OR REPLACE VIEW v AS SELECT 2".to_owned(), None).await.unwrap();
    ana.execute_update("DROP VIEW v".to_owned(), None).await.unwrap();
    ana.execute_update("CREATE VIEW v AS SELECT 1".to_owned(), None).await.unwrap();
    prepared.close().await.unwrap();
    ana.prepare(one(), None).await.unwrap();
    // Text.
    let fits = format!("SELECT '{}'", "x".repeat(91));
    let long = format!("SELECT '{}'", "x".repeat(92));
    ana.execute_update(fits.clone(), None).await.expect_err("it has rows, and fits");
    let fits = words(ana.execute_update(fits, None).await.unwrap_err());
    assert!(fits.contains("run it as a query"), "{fits}");
    assert!(words(ana.execute(long, None).await.unwrap_err()).contains("101 bytes, 100 are allowed"));
    // Sessions: the analyst's own oldest gives way, another's does not.
    let mut second = kit.ana().await;
    assert!(query(&mut second, TIMEOUT).await.is_ok());
    let mut third = kit.ana().await;
    assert!(query(&mut third, TIMEOUT).await.is_ok());
    assert!(query(&mut ana, "SELECT * FROM v").await.is_err(), "its session has given way");
    let mut ben = kit.ben().await;
    assert!(query(&mut ben, TIMEOUT).await.is_ok());
    // Running: one, and it is held.
    let mut plain = FlightServiceClient::new(kit.channel(Who::Holder("ana")).await);
    kit.network.hold_after(40_000);
    let short = "SELECT PRIVATE_INTERSECT_COUNT(*) FROM readers r JOIN shop.people p ON r.email = p.email";
    plain.poll_flight_info(statement(short)).await.unwrap();
    let busy = query(&mut ben, "SELECT 1").await.unwrap_err();
    assert!(busy.contains("0 statements of yours run here, and 1 of all"), "{busy}");
    kit.sql.stop();
}

#[tokio::test]
async fn a_table_made_from_a_private_query_counts_as_running_and_ends_with_its_session() {
    let limits = SqlLimits { running_max: 1, running_per_analyst_max: 1, ..SqlLimits::default() };
    let kit = Kit::with(limits, true).await;
    let (mut ana, mut ben) = (kit.ana().await, kit.ben().await);
    assert!(query(&mut ben, "SELECT 1").await.is_ok());
    kit.network.hold_after(40_000);
    let making =
        SpawnedTask::spawn(async move { ana.execute_update(format!("CREATE TABLE found AS {QUESTION}"), None).await });
    for _ in 0..400 {
        if kit.shop.sessions().unwrap().len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let busy = query(&mut ben, "SELECT 1").await.unwrap_err();
    assert!(busy.contains("0 statements of yours run here, and 1 of all"), "{busy}");
    kit.sql.stop();
    let ended = within(making.join()).await.unwrap().unwrap_err().to_string();
    assert!(ended.contains("its session was closed"), "{ended}");
    is_over(&kit).await;
}

#[tokio::test]
async fn texts_that_a_session_keeps_have_a_limit_together() {
    let limits = SqlLimits { text_bytes_per_session_max: 300, ..SqlLimits::default() };
    let kit = Kit::with(limits, true).await;
    let mut ana = kit.ana().await;
    let long = format!("SELECT '{}' AS x", "x".repeat(84));
    let prepared = ana.prepare(long.clone(), None).await.unwrap();
    ana.execute_update(format!("CREATE VIEW v AS {long}"), None).await.unwrap();
    let full = ana.execute(long.clone(), None).await.unwrap_err().to_string();
    assert!(full.contains("more than 300 bytes of text together"), "{full}");
    assert!(ana.prepare(long.clone(), None).await.is_err());
    prepared.close().await.unwrap();
    let info = ana.execute(long.clone(), None).await.unwrap();
    rows(&mut ana, info).await.unwrap();
}

#[tokio::test]
async fn what_nobody_uses_is_given_up_and_a_session_ends_with_its_connection() {
    let limits = SqlLimits {
        session_idle: Duration::from_millis(1500),
        result_idle: Duration::from_millis(300),
        sessions_max: 2,
        ..SqlLimits::default()
    };
    let kit = Kit::with(limits, true).await;
    let mut ana = kit.ana().await;
    ana.execute("SET psi.timeout_seconds = 55".to_owned(), None).await.unwrap();
    let info = ana.execute("SELECT 1".to_owned(), None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    let late = rows(&mut ana, info).await.unwrap_err();
    assert!(late.contains("given up after"), "{late}");
    assert_eq!(texts(&query(&mut ana, TIMEOUT).await.unwrap(), "value"), ["55"]);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_ne!(texts(&query(&mut ana, TIMEOUT).await.unwrap(), "value"), ["55"], "idle too long");
    // Connections that went away have no sessions: ten in a row fit where two may be.
    for _ in 0..10 {
        let mut other = kit.ana().await;
        assert!(query(&mut other, "SELECT 1").await.is_ok());
        drop(other);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What was polled and left is stopped, on both sides.
    let mut plain = FlightServiceClient::new(kit.channel(Who::Holder("ana")).await);
    let _left = held(&kit, &mut plain).await;
    is_over(&kit).await;
}

#[tokio::test]
async fn without_tls_on_one_machine_tokens_alone_open_the_door() {
    let kit = Kit::with(SqlLimits::default(), false).await;
    let mut ben = kit.ben().await;
    assert_eq!(number(&within(query(&mut ben, QUESTION)).await.unwrap()), COMMON);
    let channel = kit.channel(Who::Nobody).await;
    for (method, status) in every_method(&channel, None).await {
        assert_eq!(status.code(), Code::Unauthenticated, "{method}");
        assert!(status.message().contains("connect with a token"), "{method}: {status}");
    }
}
