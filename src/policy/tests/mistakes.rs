use super::parse::changed;
use crate::policy::Party;

#[test]
fn every_mistake_is_an_error_with_its_line_and_what_would_be_right() {
    let cases: &[(&str, &str, &str)] = &[
        (
            // unknown key near a known one
            "filter_on = ",
            "filter_no = ",
            "party.toml:26: [[share]]: unknown key 'filter_no'; did you mean 'filter_on'?",
        ),
        (
            // unknown key near none
            "width = 4",
            "threads = 2",
            "party.toml:51: [ot]: unknown key 'threads'; possible keys: width",
        ),
        (
            // unknown table
            "[ot]",
            "[otx]",
            "party.toml:50: the policy: unknown key 'otx'; did you mean 'ot'?",
        ),
        (
            // no TOML
            "minimum_matched = 50",
            "minimum_matched = = 50",
            "party.toml:30: this is no TOML: extra `=`, expected nothing at `=`; see https://toml.io for how TOML is written",
        ),
        (
            // a key twice
            "minimum_matched = 50",
            "minimum_matched = 50\nminimum_matched = 60",
            "party.toml:31: this is no TOML: duplicate key at `minimum_matched`; see https://toml.io for how TOML is written",
        ),
        (
            // a value of another type
            "queries = 100",
            r#"queries = "100""#,
            "party.toml:46: [ask.budget]: 'queries' is a string where a whole number is due; write, for example: queries = 100",
        ),
        (
            // a table where a list is due
            "[[table]]",
            "[table]",
            r#"party.toml:11: the policy: 'table' is a table where a list is due; write, for example: [[table]], and in it: name = "purchases", location = "data/*.parquet""#,
        ),
        (
            // no party
            r#"[party]
name = "advertiser"
state = "state/"  "#,
            "#",
            r#"party.toml:1: the policy lacks 'party'; add, for example: [party], and in it: name = "advertiser""#,
        ),
        (
            // no name
            r#"name = "advertiser""#,
            "",
            r#"party.toml:1: [party] lacks 'name'; add, for example: name = "advertiser""#,
        ),
        (
            // a name that SQL would need quotes for
            r#"name = "advertiser""#,
            r#"name = "Advertiser""#,
            "party.toml:2: [party]: 'name' is 'Advertiser', which is no name; a name starts with a lower-case letter and goes on with at most 62 lower-case letters, digits or '_', so that SQL needs no quotes around it",
        ),
        (
            // a reserved name
            r#"name = "advertiser""#,
            r#"name = "psi""#,
            "party.toml:2: [party]: 'name' is 'psi', which SQL keeps for itself; choose another name",
        ),
        (
            // a reserved peer
            r#"name = "publisher""#,
            r#"name = "information_schema""#,
            "party.toml:16: [[peer]]: 'name' is 'information_schema', which SQL keeps for itself; choose another name",
        ),
        (
            // a peer with the party's own name
            r#"name = "publisher""#,
            r#"name = "advertiser""#,
            "party.toml:16: [[peer]]: 'name' is 'advertiser', this party's own name; a peer is another party",
        ),
        (
            // an empty text
            r#"state = "state/""#,
            r#"state = " ""#,
            r#"party.toml:3: [party]: 'state' is empty; write, for example: state = "state/""#,
        ),
        (
            // a population that is no name
            r#"population = "shoppers"                                  #"#,
            r#"population = "all shoppers" #"#,
            "party.toml:34: [share.budget] of 'purchases': 'population' is 'all shoppers', which is no name; a name starts with a lower-case letter and goes on with at most 62 lower-case letters, digits or '_', so that SQL needs no quotes around it",
        ),
        (
            // listening without port
            "127.0.0.1:50052",
            "127.0.0.1",
            "party.toml:6: [server]: 'listen' is '127.0.0.1', which is no address with a port; write an address such as 127.0.0.1:50052 (port 0 lets the system choose)",
        ),
        (
            // a port that is none
            "127.0.0.1:50052",
            "127.0.0.1:70000",
            "party.toml:6: [server]: 'listen' is '127.0.0.1:70000', which is no address with a port; write an address such as 127.0.0.1:50052 (port 0 lets the system choose)",
        ),
        (
            // a table twice
            "[[peer]]",
            r#"[[table]]
name = "purchases"
location = "x.csv"
[[peer]]"#,
            "party.toml:16: [[table]]: 'name' is 'purchases', as is that of line 11; give each table a name of its own; `location` may be a list",
        ),
        (
            // a peer named twice
            r#"with = ["publisher"]"#,
            r#"with = ["publisher", "publisher"]"#,
            "party.toml:22: [[share]]: 'with' names 'publisher' twice; name it once",
        ),
        (
            // a column named twice
            r#""bought_at", "category""#,
            r#""bought_at", "bought_at""#,
            "party.toml:26: [[share]]: 'filter_on' names 'bought_at' twice; name it once",
        ),
        (
            // a peer asked on two accounts
            "[ot]",
            r#"[[ask]]
of = ["publisher"]
population = "others"
[ask.budget]
queries = 1
sizes = { exact = true }
[ot]"#,
            "party.toml:51: [[ask]]: 'of' names 'publisher', as does the [[ask]] of line 40; a peer is asked on one account: join the two, or take the peer out of one",
        ),
        (
            // with names no peer
            r#"with = ["publisher"]"#,
            r#"with = ["publishr"]"#,
            "party.toml:22: [[share]]: 'with' names 'publishr', and no [[peer]] has that name; did you mean 'publisher'?",
        ),
        (
            // with names nobody near
            r#"with = ["publisher"]"#,
            r#"with = ["bank"]"#,
            "party.toml:22: [[share]]: 'with' names 'bank', and no [[peer]] has that name; peers: publisher",
        ),
        (
            // with is empty
            r#"with = ["publisher"]"#,
            "with = []",
            r#"party.toml:22: [[share]]: 'with' is empty; write, for example: with = ["publisher"]"#,
        ),
        (
            // with is a text
            r#"with = ["publisher"]"#,
            r#"with = "publisher""#,
            r#"party.toml:22: [[share]]: 'with' is a string where a list is due; write, for example: with = ["publisher"]"#,
        ),
        (
            // of names no peer
            r#"of = ["publisher"]"#,
            r#"of = ["bank"]"#,
            "party.toml:41: [[ask]]: 'of' names 'bank', and no [[peer]] has that name; peers: publisher",
        ),
        (
            // no such table
            r#"table = "purchases""#,
            r#"table = "purchase""#,
            "party.toml:21: [[share]]: 'table' is 'purchase', and no [[table]] has that name; did you mean 'purchases'?",
        ),
        (
            // no location
            r#"location = "data/purchases/*.parquet""#,
            "location = []",
            "party.toml:13: [[table]]: 'location' names 0 places; name 1 to 1024 files, folders or globs",
        ),
        (
            // no identifiers
            r#"identifiers = { email = "email/1", phone = "phone/1:US", person = { columns = ["surname", "born"], as = "exact/1" } }"#,
            "identifiers = {}",
            r#"party.toml:23: [[share]]: 'identifiers' names 0 identifiers; name 1 to 256, for example: email = "email/1", or person = { columns = ["surname", "born"], as = "exact/1" }"#,
        ),
        (
            // an unknown normaliser
            r#""email/1""#,
            r#""email/2""#,
            "party.toml:23: [[share]]: 'identifiers': 'email' is 'email/2'; there is no normaliser 'email/2': there are exact/1, email/1, phone/1:REGION (such as phone/1:US) and sha256/1",
        ),
        (
            // a phone without region
            r#""phone/1:US""#,
            r#""phone/1""#,
            "party.toml:23: [[share]]: 'identifiers': 'phone' is 'phone/1'; phone/1 needs the region of numbers that are written without a country code, such as phone/1:US",
        ),
        (
            // a phone of no region
            r#""phone/1:US""#,
            r#""phone/1:XX""#,
            "party.toml:23: [[share]]: 'identifiers': 'phone' is 'phone/1:XX', whose region is none; write two capital letters of ISO 3166, such as phone/1:US",
        ),
        (
            // an identifier of another type
            r#""email/1""#,
            "1",
            r#"party.toml:23: [[share]]: 'identifiers': 'email' is an integer where a normaliser's name or a table is due; write, for example: email = "email/1", or person = { columns = ["surname", "born"], as = "exact/1" }"#,
        ),
        (
            // a composite of no columns
            r#"["surname", "born"]"#,
            "[]",
            r#"party.toml:23: [[share]]: 'identifiers': 'person': 'columns' is empty; write, for example: columns = ["surname", "born"]"#,
        ),
        (
            // a composite without normaliser
            r#", as = "exact/1""#,
            "",
            r#"party.toml:23: [[share]]: 'identifiers': 'person' lacks 'as'; add, for example: as = "exact/1""#,
        ),
        (
            // an unknown key of a composite
            r#"as = "exact/1""#,
            r#"is = "exact/1""#,
            "party.toml:23: [[share]]: 'identifiers': 'person': unknown key 'is'; did you mean 'as'?",
        ),
        (
            // two identifiers of the same columns
            r#"phone = "phone/1:US""#,
            r#"phone = { columns = ["email"], as = "exact/1" }"#,
            "party.toml:23: [[share]]: 'identifiers': 'phone' is made of the same columns as 'email'; a query could not tell them apart: keep one",
        ),
        (
            // an empty identifier's name
            r#"email = "email/1""#,
            r#""" = "email/1""#,
            "party.toml:23: [[share]]: 'identifiers': '' is no identifier's name; a name has 1 to 256 bytes that show as they are on one line",
        ),
        (
            // min above max
            "min = 0, max = 500",
            "min = 501, max = 500",
            "party.toml:24: [[share]]: 'aggregates': 'amount': 'min' is 501, above max = 500; write the smaller one as min",
        ),
        (
            // min alone
            "min = 0, max = 500",
            "min = 0",
            "party.toml:24: [[share]]: 'aggregates': 'amount' lacks 'max'; add, for example: max = 500",
        ),
        (
            // max alone
            "min = 0, max = 500",
            "max = 500",
            "party.toml:24: [[share]]: 'aggregates': 'amount' lacks 'min'; add, for example: min = 0",
        ),
        (
            // no max_rows
            ", max_rows = 20",
            "",
            "party.toml:24: [[share]]: 'aggregates': 'amount' lacks 'max_rows'; add, for example: max_rows = 20",
        ),
        (
            // max_rows of 0
            "max_rows = 20",
            "max_rows = 0",
            "party.toml:24: [[share]]: 'aggregates': 'amount': 'max_rows' is 0; it must be 1 to 1000000000",
        ),
        (
            // a bound that is infinite
            "max = 500",
            "max = inf",
            r#"party.toml:24: [[share]]: 'aggregates': 'amount': 'max' is 'inf', which is not a decimal number of at most 38 digits, 30 of them after the point; write a number such as 500, 12.50 or "12.50""#,
        ),
        (
            // a bound that is no number
            "max = 500",
            r#"max = "many""#,
            r#"party.toml:24: [[share]]: 'aggregates': 'amount': 'max' is 'many', which is not a decimal number of at most 38 digits, 30 of them after the point; write a number such as 500, 12.50 or "12.50""#,
        ),
        (
            // a bound that is a list
            "max = 500",
            "max = [500]",
            "party.toml:24: [[share]]: 'aggregates': 'amount': 'max' is an array where a number is due; write, for example: max = 500",
        ),
        (
            // a bound of too many digits
            "max = 500",
            "max = 1e99",
            r#"party.toml:24: [[share]]: 'aggregates': 'amount': 'max' is '1e99', which is not a decimal number of at most 38 digits, 30 of them after the point; write a number such as 500, 12.50 or "12.50""#,
        ),
        (
            // decimals of a count
            "{ min = 0, max = 500, max_rows = 20 }",
            "{ max_rows = 20, decimals = 2 }",
            "party.toml:24: [[share]]: 'aggregates': 'amount': 'decimals' has no bounds beside it; give min and max too, or leave it out: a count has no decimals",
        ),
        (
            // too many decimals
            "max_rows = 20 }",
            "max_rows = 20, decimals = 19 }",
            "party.toml:24: [[share]]: 'aggregates': 'amount': 'decimals' is 19; it must be 0 to 18",
        ),
        (
            // a bound finer than the sum
            "max = 500, max_rows = 20 }",
            "max = 500.125, max_rows = 20, decimals = 2 }",
            "party.toml:24: [[share]]: 'aggregates': 'amount': 'max' is 500.125, which has more decimals than the 2 of the sum; give the bound no more decimals than `decimals` says",
        ),
        (
            // squares of a count
            "{ min = 0, max = 500, max_rows = 20 }",
            "{ max_rows = 20, squares_max = 9 }",
            "party.toml:24: [[share]]: 'aggregates': 'amount': 'squares_max' has no bounds beside it; give min and max too, or leave it out: a column that is only counted has no squares",
        ),
        (
            // squares below zero
            "max_rows = 20 }",
            "max_rows = 20, squares_max = -0.5 }",
            "party.toml:24: [[share]]: 'aggregates': 'amount': 'squares_max' is -0.5, and no sum of squares is below 0; write a bound of 0 or more",
        ),
        (
            // squares finer than those of the sum
            "max_rows = 20 }",
            "max_rows = 20, decimals = 1, squares_max = 0.125 }",
            "party.toml:24: [[share]]: 'aggregates': 'amount': 'squares_max' is 0.125, which has more decimals than the 2 of the squares; give the bound at most twice the decimals that `decimals` says",
        ),
        (
            // a misspelt bound
            "max = 500",
            "maks = 500",
            "party.toml:24: [[share]]: 'aggregates': 'amount': unknown key 'maks'; possible keys: min, max, max_rows, decimals, squares_max",
        ),
        (
            // requester_values = true
            "requester_values = false",
            "requester_values = true",
            "party.toml:25: [[share]]: 'requester_values' is true; write the bounds of one person's total: requester_values = { min = 0, max = 100 }",
        ),
        (
            // requester_values without max
            "requester_values = false",
            "requester_values = { min = 0 }",
            "party.toml:25: requester_values lacks 'max'; add, for example: max = 100",
        ),
        (
            // requester_values of another type
            "requester_values = false",
            r#"requester_values = "no""#,
            "party.toml:25: [[share]]: 'requester_values' is a string where a table is due; write, for example: requester_values = false",
        ),
        (
            // requester_values upside down
            "requester_values = false",
            "requester_values = { min = 1.5, max = 1.25 }",
            "party.toml:25: requester_values: 'min' is 1.5, above max = 1.25; write the smaller one as min",
        ),
        (
            // filtered_rows
            r#"filtered_rows = "hide""#,
            r#"filtered_rows = "hidden""#,
            "party.toml:31: [[share]]: 'filtered_rows' is 'hidden'; possible values: hide, pad, reveal",
        ),
        (
            // filtered_rows as a boolean
            r#"filtered_rows = "hide""#,
            "filtered_rows = true",
            r#"party.toml:31: [[share]]: 'filtered_rows' is a boolean where a string is due; write, for example: filtered_rows = "hide""#,
        ),
        (
            // minimum_matched below 0
            "minimum_matched = 50",
            "minimum_matched = -1",
            "party.toml:30: [[share]]: 'minimum_matched' is -1; it must be 0 to 1000000000000",
        ),
        (
            // pad without epsilon
            r#"filtered_rows = "hide"                                   # the default; or "pad", "reveal"
approval = "none"                                        # the default; or "required"
[share.budget]
population = "shoppers"                                  # shares of the same people draw on one account
queries = 10
sizes = { epsilon = 2.0 }"#,
            r#"filtered_rows = "pad"
[share.budget]
population = "shoppers"
queries = 10
sizes = { exact = true }"#,
            r#"party.toml:31: [[share]]: 'filtered_rows' is 'pad', and the budget's sizes are exact; padding needs sizes = { epsilon = … }; write "hide" or "reveal", or give an epsilon"#,
        ),
        (
            // no population
            r#"population = "shoppers"                                  #"#,
            "#",
            r#"party.toml:33: [share.budget] of 'purchases' lacks 'population'; add, for example: population = "shoppers""#,
        ),
        (
            // no queries
            "queries = 100",
            "",
            "party.toml:45: [ask.budget] lacks 'queries'; add, for example: queries = 100",
        ),
        (
            // queries of 0
            "queries = 100",
            "queries = 0",
            "party.toml:46: [ask.budget]: 'queries' is 0; it must be 1 to 1000000",
        ),
        (
            // too many queries
            "queries = 100",
            "queries = 1000001",
            "party.toml:46: [ask.budget]: 'queries' is 1000001; it must be 1 to 1000000",
        ),
        (
            // queries that are fractional
            "queries = 100",
            "queries = 1.5",
            "party.toml:46: [ask.budget]: 'queries' is a float where a whole number is due; write, for example: queries = 100",
        ),
        (
            // no sizes
            "queries = 100\nsizes = { epsilon = 2.0 }",
            "queries = 100",
            "party.toml:45: [ask.budget] lacks 'sizes'; add, for example: sizes = { epsilon = 2.0 }",
        ),
        (
            // sizes without epsilon
            "sizes = { epsilon = 2.0 }                                #",
            "sizes = { delta = 1e-6 } #",
            "party.toml:36: sizes lacks 'epsilon'; write sizes = { epsilon = 2.0 }, or sizes = { exact = true } if the numbers of matches may be seen exactly",
        ),
        (
            // sizes of both kinds
            "sizes = { epsilon = 2.0 }                                #",
            "sizes = { epsilon = 2.0, exact = true } #",
            "party.toml:36: sizes: 'exact' stands beside epsilon or delta; write either { exact = true } or { epsilon = 2.0 }",
        ),
        (
            // sizes not exact
            "sizes = { epsilon = 2.0 }                                #",
            "sizes = { exact = false } #",
            "party.toml:36: sizes: 'exact' is false, which says nothing; write sizes = { epsilon = 2.0 }",
        ),
        (
            // epsilon of 0
            "sizes = { epsilon = 2.0 }                                #",
            "sizes = { epsilon = 0 } #",
            "party.toml:36: sizes: 'epsilon' is 0; it must be above 0, at most 100, with at most 6 decimals",
        ),
        (
            // epsilon too large
            "sizes = { epsilon = 2.0 }                                #",
            "sizes = { epsilon = 100.5 } #",
            "party.toml:36: sizes: 'epsilon' is 100.5; it must be above 0, at most 100, with at most 6 decimals",
        ),
        (
            // epsilon too fine
            "sizes = { epsilon = 2.0 }                                #",
            "sizes = { epsilon = 0.0000001 } #",
            "party.toml:36: sizes: 'epsilon' is 0.0000001; it must be above 0, at most 100, with at most 6 decimals",
        ),
        (
            // delta of 1
            "sizes = { epsilon = 2.0 }                                #",
            "sizes = { epsilon = 2.0, delta = 1 } #",
            "party.toml:36: sizes: 'delta' is 1; it must be above 0 and below 1, or left out for 1 / (10 N), N the larger table",
        ),
        (
            // delta below 0
            "sizes = { epsilon = 2.0 }                                #",
            "sizes = { epsilon = 2.0, delta = -1e-9 } #",
            "party.toml:36: sizes: 'delta' is -0.000000001; it must be above 0 and below 1, or left out for 1 / (10 N), N the larger table",
        ),
        (
            // rows
            r#"rows = "pad""#,
            r#"rows = "hide""#,
            "party.toml:43: [[ask]]: 'rows' is 'hide'; possible values: pad, reveal",
        ),
        (
            // an ask that pads at no epsilon
            "queries = 100\nsizes = { epsilon = 2.0 }",
            "queries = 100\nsizes = { exact = true }",
            r#"party.toml:40: [[ask]] pads its rows, and the budget's sizes are exact; padding needs sizes = { epsilon = … }; write rows = "reveal", or give an epsilon"#,
        ),
        (
            // an ask of nine identifiers
            "identifiers = 3 ",
            "identifiers = 9 ",
            "party.toml:44: [[ask]]: 'identifiers' is 9; it must be 1 to 8",
        ),
        (
            // an ask without population
            r#"population = "shoppers"
rows"#,
            "rows",
            r#"party.toml:40: [[ask]] lacks 'population'; add, for example: population = "shoppers""#,
        ),
        (
            // a width between
            "width = 4 ",
            "width = 3 ",
            "party.toml:51: [ot]: 'width' is 3; it must be 1, 2, 4 or 8: a larger one sends less and computes more",
        ),
        (
            // a width beyond
            "width = 4 ",
            "width = 16 ",
            "party.toml:51: [ot]: 'width' is 16; it must be 1, 2, 4 or 8: a larger one sends less and computes more",
        ),
        (
            // no persons at all
            "persons_max = 10_000_000",
            "persons_max = 0",
            "party.toml:54: [limits]: 'persons_max' is 0; it must be 1 to 1073741824",
        ),
        (
            // a stall of no time
            "stall_seconds_max = 60",
            "stall_seconds_max = 0",
            "party.toml:64: [limits]: 'stall_seconds_max' is 0; it must be 1 to 3600",
        ),
        (
            // a certificate without its key
            r#"key = "tls/advertiser.key""#,
            "",
            r#"party.toml:5: [server] lacks 'key'; add, for example: key = "tls/advertiser.key""#,
        ),
        (
            // neither certificate nor plaintext
            r#"certificate = "tls/advertiser.pem"    # the peer protocol and Flight SQL share the port
key = "tls/advertiser.key""#,
            "",
            r#"party.toml:5: [server] lacks 'certificate'; add certificate = "tls/NAME.pem" and key = "tls/NAME.key", which `datafusion-psi init` makes; or, for peers on this machine alone, plaintext = true"#,
        ),
        (
            // a key in the certificate's file
            r#"key = "tls/advertiser.key""#,
            r#"key = "tls/advertiser.pem""#,
            "party.toml:8: [server]: 'key' names the certificate's file; the key stands in a file of its own, which nobody else may read",
        ),
        (
            // plaintext beside a certificate
            r#"key = "tls/advertiser.key""#,
            r#"key = "tls/advertiser.key"
plaintext = true"#,
            "party.toml:9: [server]: 'plaintext' is true, beside a certificate; remove plaintext, and the server speaks TLS; or remove certificate and key",
        ),
        (
            // plaintext that is no boolean
            r#"key = "tls/advertiser.key""#,
            r#"key = "tls/advertiser.key"
plaintext = "yes""#,
            "party.toml:9: [server]: 'plaintext' is a string where true or false is due; write, for example: plaintext = true",
        ),
        (
            // two certificates of one party
            r#"state = "state/""#,
            r#"certificate = "a.pem"
key = "a.key"
state = "state/""#,
            "party.toml:9: [server]: 'certificate' stands here, and [party] has one too, at line 3; a party is known by one certificate: write it in one place",
        ),
        (
            // clients without TLS
            r#"certificate = "tls/advertiser.pem"    # the peer protocol and Flight SQL share the port
key = "tls/advertiser.key""#,
            "plaintext = true",
            "party.toml:8: [server]: 'clients' needs TLS, and the server speaks plain text; remove it, or give the server a certificate and a key",
        ),
        (
            // analysts named twice
            r#""tls/analysts.pem""#,
            r#"["tls/analysts.pem", "tls/analysts.pem"]"#,
            "party.toml:9: [server]: 'clients' names 'tls/analysts.pem' twice; name it once",
        ),
        (
            // no analysts
            r#""tls/analysts.pem""#,
            "[]",
            "party.toml:9: [server]: 'clients' names 0 files; name 1 to 16; one may hold many certificates",
        ),
        (
            // the party as its own analyst
            r#""tls/analysts.pem""#,
            r#""tls/advertiser.pem""#,
            "party.toml:9: [server]: 'clients' names 'tls/advertiser.pem', which is this party's own; whoever runs SQL has a certificate of its own: `datafusion-psi init` makes one",
        ),
        (
            // tokens that are no file
            r#"clients = "tls/analysts.pem""#,
            "tokens = 7",
            r#"party.toml:9: [server]: 'tokens' is an integer where a string is due; write, for example: tokens = "tls/tokens.txt""#,
        ),
        (
            // a peer by certificate, and no certificate of one's own
            r#"certificate = "tls/advertiser.pem"    # the peer protocol and Flight SQL share the port
key = "tls/advertiser.key"
clients = "tls/analysts.pem"  "#,
            "plaintext = true #",
            r#"party.toml:13: [[peer]] 'publisher' is spoken to by TLS, and this party has no certificate of its own; add certificate = "tls/NAME.pem" and key = "tls/NAME.key" to [server], or to [party] where there is no server; `datafusion-psi init` makes both"#,
        ),
        (
            // listening for everybody in plain text
            r#"listen = "127.0.0.1:50052"
certificate = "tls/advertiser.pem"    # the peer protocol and Flight SQL share the port
key = "tls/advertiser.key"
clients = "tls/analysts.pem""#,
            r#"listen = "0.0.0.0:50052"
plaintext = true"#,
            "party.toml:6: [server]: 'listen' is '0.0.0.0:50052', which is not loopback; listen on 127.0.0.1, [::1] or localhost: plain text must not leave this machine; to be reached from others, give the server a certificate and a key",
        ),
        (
            // listening on a name
            "127.0.0.1:50052",
            "example.org:50052",
            "party.toml:6: [server]: 'listen' is 'example.org:50052', whose host is no IP address; write the address of one of this machine's networks, or 0.0.0.0 for all",
        ),
        (
            // a peer without certificate
            r#"certificate = "tls/publisher.pem"  "#,
            "#",
            r#"party.toml:15: [[peer]] 'publisher' lacks 'certificate', by which it would be known; add certificate = "tls/NAME.pem", the file that the peer gave you; or, for a peer on this machine alone, plaintext = true and an address grpc://127.0.0.1:PORT"#,
        ),
        (
            // a peer by TLS in plain text
            r#"certificate = "tls/publisher.pem"  "#,
            r#"certificate = "tls/publisher.pem"
plaintext = true #"#,
            r#"party.toml:17: [[peer]]: 'address' is 'grpc+tls://127.0.0.1:50051', which is TLS, and the peer has plaintext = true; remove plaintext and add certificate = "tls/NAME.pem"; or write grpc://127.0.0.1:PORT"#,
        ),
        (
            // no certificates at all
            r#""tls/publisher.pem""#,
            "[]",
            r#"party.toml:18: [[peer]]: 'certificate' names 0 files; name 1 to 8, for example: certificate = ["tls/publisher.pem", "tls/publisher-next.pem"]"#,
        ),
        (
            // one certificate twice
            r#""tls/publisher.pem""#,
            r#"["tls/publisher.pem", "tls/publisher.pem"]"#,
            "party.toml:18: [[peer]]: 'certificate' names 'tls/publisher.pem' twice; name it once",
        ),
        (
            // a peer with the own certificate
            r#""tls/publisher.pem""#,
            r#""tls/advertiser.pem""#,
            "party.toml:18: [[peer]]: 'certificate' names 'tls/advertiser.pem', which is this party's own; name the certificate that the peer gave you",
        ),
        (
            // a certificate of two peers
            "[[share]]",
            r#"[[peer]]
name = "bank"
address = "grpc+tls://bank.example:1"
certificate = ["tls/bank.pem", "tls/publisher.pem"]
[[share]]"#,
            "party.toml:23: [[peer]]: 'certificate' names 'tls/publisher.pem', as does the [[peer]] of line 15; a certificate stands for one peer: give each its own",
        ),
        (
            // a certificate that is a number
            r#""tls/publisher.pem""#,
            "1",
            r#"party.toml:18: [[peer]]: 'certificate' is an integer where a file or a list of files is due; write, for example: certificate = "tls/publisher.pem""#,
        ),
        (
            // a peer in plain text without the word
            "grpc+tls://127.0.0.1:50051",
            "grpc://127.0.0.1:50051",
            "party.toml:17: [[peer]]: 'address' is 'grpc://127.0.0.1:50051', which is plain text; write grpc+tls://HOST:PORT; or, for a peer on this machine alone, add plaintext = true",
        ),
        (
            // a peer by http
            "grpc+tls://127.0.0.1:50051",
            "https://127.0.0.1:50051",
            "party.toml:17: [[peer]]: 'address' is 'https://127.0.0.1:50051', which does not begin with grpc+tls://; write an address such as grpc+tls://psi.publisher.example:50051",
        ),
        (
            // a peer without port
            "grpc+tls://127.0.0.1:50051",
            "grpc+tls://127.0.0.1",
            "party.toml:17: [[peer]]: 'address' is 'grpc+tls://127.0.0.1', which is no host with a port; write an address such as grpc+tls://psi.publisher.example:50051",
        ),
        (
            // a peer at port 0
            "grpc+tls://127.0.0.1:50051",
            "grpc+tls://127.0.0.1:0",
            "party.toml:17: [[peer]]: 'address' is 'grpc+tls://127.0.0.1:0', and port 0 cannot be reached; write an address such as grpc+tls://psi.publisher.example:50051",
        ),
        (
            // a peer with a path
            "grpc+tls://127.0.0.1:50051",
            "grpc+tls://127.0.0.1:50051/x",
            "party.toml:17: [[peer]]: 'address' is 'grpc+tls://127.0.0.1:50051/x', which is no host with a port; write an address such as grpc+tls://psi.publisher.example:50051",
        ),
        (
            // a peer at no host
            "grpc+tls://127.0.0.1:50051",
            "grpc+tls://user@example.org:50051",
            "party.toml:17: [[peer]]: 'address' is 'grpc+tls://user@example.org:50051', which is no host with a port; write an address such as grpc+tls://psi.publisher.example:50051",
        ),
        (
            // a peer twice
            "[[share]]",
            r#"[[peer]]
name = "publisher"
address = "grpc+tls://127.0.0.1:1"
certificate = "tls/x.pem"
[[share]]"#,
            "party.toml:21: [[peer]]: 'name' is 'publisher', as is that of line 15; give each peer a name of its own",
        ),
        (
            // labels that are a text
            r#"["toys", "books", "garden"]"#,
            r#""toys""#,
            r#"party.toml:27: [[share]]: 'group_by': 'category' is a string where a list is due; write, for example: category = ["toys", "books", "garden"]"#,
        ),
        (
            // a label twice
            r#""books", "garden""#,
            r#""books", "toys""#,
            "party.toml:27: [[share]]: 'group_by': 'category' names 'toys' twice; name it once",
        ),
        (
            // a label that is a float
            r#""books", "garden""#,
            "1.5",
            r#"party.toml:27: [[share]]: 'group_by': 'category' is a float where a text or a whole number is due; write, for example: category = ["toys", "books", "garden"]"#,
        ),
        (
            // no labels
            r#"["toys", "books", "garden"]"#,
            "[]",
            r#"party.toml:27: [[share]]: 'group_by': 'category' is empty; write, for example: category = ["toys", "books", "garden"]"#,
        ),
        (
            // no columns to group by
            r#"group_by = { category = ["toys", "books", "garden"] }"#,
            "group_by = {}",
            r#"party.toml:27: [[share]]: 'group_by' names 0 columns; name 1 to 256, for example: group_by = { category = ["toys", "books", "garden"] }"#,
        ),
        (
            // a label of two lines
            r#""books", "garden""#,
            r#""a\nb""#,
            "party.toml:27: [[share]]: 'group_by': 'category' has the label 'a b'; a label has 1 to 256 bytes and no control characters",
        ),
        (
            // max_labels without group_by
            r#"group_by = { category = ["toys", "books", "garden"] }"#,
            "",
            "party.toml:28: [[share]]: 'max_labels' stands without group_by; remove it, or list the labels of a column in group_by",
        ),
        (
            // more labels than there are
            "max_labels = 2 ",
            "max_labels = 4 ",
            "party.toml:28: [[share]]: 'max_labels' is 4; it must be 1 to 3",
        ),
        (
            // no part at all
            "max_parts = 20",
            "max_parts = 0",
            "party.toml:29: [[share]]: 'max_parts' is 0; it must be 1 to 1000",
        ),
        (
            // approval by another word
            r#"approval = "none""#,
            r#"approval = "yes""#,
            "party.toml:32: [[share]]: 'approval' is 'yes'; possible values: required, none",
        ),
        (
            // no word about outputs
            "outputs = { epsilon = 4.0 }",
            "",
            "party.toml:33: [share.budget] of 'purchases' lacks 'outputs'; add, for example: outputs = { epsilon = 4.0 }",
        ),
        (
            // empty outputs
            "outputs = { epsilon = 4.0 }",
            "outputs = { }",
            r#"party.toml:37: outputs of 'purchases' lacks 'epsilon'; write outputs = { epsilon = 4.0 }, or outputs = { noise = "none" } if exact answers may leave"#,
        ),
        (
            // another noise
            "outputs = { epsilon = 4.0 }",
            r#"outputs = { epsilon = 4.0, noise = "uniform" }"#,
            "party.toml:37: outputs of 'purchases': 'noise' is 'uniform'; possible values: none, laplace, gaussian",
        ),
        (
            // an epsilon without noise
            "outputs = { epsilon = 4.0 }",
            r#"outputs = { epsilon = 4.0, noise = "none" }"#,
            r#"party.toml:37: outputs of 'purchases': 'epsilon' stands beside noise = "none"; write either { noise = "none" }, and answers are exact, or { epsilon = 4.0 }"#,
        ),
        (
            // an output epsilon of 0
            "outputs = { epsilon = 4.0 }",
            "outputs = { epsilon = 0 }",
            "party.toml:37: outputs of 'purchases': 'epsilon' is 0; it must be above 0, at most 100, with at most 6 decimals",
        ),
        (
            // a delta of laplace noise
            "outputs = { epsilon = 4.0 }",
            "outputs = { epsilon = 4.0, delta = 1e-6 }",
            r#"party.toml:37: outputs of 'purchases': 'delta' stands beside laplace noise, which needs none; leave it out, or write noise = "gaussian""#,
        ),
        (
            // gaussian noise without delta
            "outputs = { epsilon = 4.0 }",
            r#"outputs = { epsilon = 4.0, noise = "gaussian" }"#,
            "party.toml:37: outputs of 'purchases' lacks 'delta'; gaussian noise needs one, well under one in the number of persons, for example: delta = 1e-7",
        ),
        (
            // gaussian noise with a delta of 1
            "outputs = { epsilon = 4.0 }",
            r#"outputs = { epsilon = 4.0, delta = 1.0, noise = "gaussian" }"#,
            "party.toml:37: outputs of 'purchases': 'delta' is 1.0; it must be above 0 and below 1",
        ),
        (
            // an output budget of which nothing is left per query
            "queries = 10\nsizes = { epsilon = 2.0 }                                # delta defaults to 1/(10 N); or { exact = true }\noutputs = { epsilon = 4.0 }",
            "queries = 10\nsizes = { epsilon = 2.0 }\noutputs = { epsilon = 0.000001, delta = 1e-25, noise = \"gaussian\" }",
            r#"party.toml:37: [share.budget] of 'purchases': 'outputs' cannot be kept: epsilon 0.000001 for outputs is too little for 10 queries: raise it, or allow fewer queries; or write outputs = { noise = "none" } if exact answers may leave"#,
        ),
        (
            // a period of another length
            r#"period = "month"                                         #"#,
            r#"period = "year" #"#,
            "party.toml:38: [share.budget] of 'purchases': 'period' is 'year'; possible values: forever, day, week, month",
        ),
        (
            // outputs of an ask
            "queries = 100",
            r#"queries = 100
outputs = { noise = "none" }"#,
            "party.toml:47: [[ask]]: 'budget': 'outputs' does not belong here; remove it: answers come to the asking party, and the other one's budget is charged for them",
        ),
        (
            // a table shown twice to one peer
            "[[ask]]",
            r#"[[share]]
table = "purchases"
with = ["publisher"]
identifiers = { email = "email/1" }
[share.budget]
population = "shoppers"
queries = 10
sizes = { epsilon = 2 }
outputs = { noise = "none" }

[[ask]]"#,
            "party.toml:42: [[share]]: 'with' names 'publisher', which the share of line 20 already shows 'purchases'; a peer sees a table by one share: join the two, or take the peer out of one",
        ),
        (
            // one population with two queries
            "[[ask]]",
            r#"[[table]]
name="clicks"
location="clicks/"
[[share]]
table = "clicks"
with = ["publisher"]
identifiers = { email = "email/1" }
[share.budget]
population = "shoppers"
queries = 11
sizes = { epsilon = 2 }
outputs = { epsilon = 4 }
period = "month"

[[ask]]"#,
            "party.toml:47: [[share]]: 'budget' differs from that of line 33, and both are about the population 'shoppers'; shares of one population draw on one account: give both the same queries, sizes, outputs and period, or different populations",
        ),
        (
            // one population with two outputs
            "[[ask]]",
            r#"[[table]]
name="clicks"
location="clicks/"
[[share]]
table = "clicks"
with = ["publisher"]
identifiers = { email = "email/1" }
[share.budget]
population = "shoppers"
queries = 10
sizes = { epsilon = 2 }
outputs = { epsilon = 4, delta = 1e-6, noise = "gaussian" }
period = "month"

[[ask]]"#,
            "party.toml:47: [[share]]: 'budget' differs from that of line 33, and both are about the population 'shoppers'; shares of one population draw on one account: give both the same queries, sizes, outputs and period, or different populations",
        ),
        (
            // one population with two periods
            "[[ask]]",
            r#"[[table]]
name="clicks"
location="clicks/"
[[share]]
table = "clicks"
with = ["publisher"]
identifiers = { email = "email/1" }
[share.budget]
population = "shoppers"
queries = 10
sizes = { epsilon = 2 }
outputs = { epsilon = 4 }
period = "forever"

[[ask]]"#,
            "party.toml:47: [[share]]: 'budget' differs from that of line 33, and both are about the population 'shoppers'; shares of one population draw on one account: give both the same queries, sizes, outputs and period, or different populations",
        ),
        (
            // an unknown limit
            "stall_seconds_max = 60",
            "stall_seconds = 60",
            "party.toml:64: [limits]: unknown key 'stall_seconds'; possible keys: persons_max, dummies_max, dummies_factor_max, sessions_max, sessions_per_peer_max, connections_max, memory_mb, blind_ahead_mb, handshake_seconds_max, connect_seconds_max, stall_seconds_max, session_seconds_max",
        ),
        (
            // more sessions of one peer than of all
            "sessions_per_peer_max = 2",
            "sessions_per_peer_max = 5",
            "party.toml:58: [limits]: 'sessions_per_peer_max' is above sessions_max = 4; one peer has at most all sessions",
        ),
        (
            // fewer connections than sessions
            "connections_max = 64",
            "connections_max = 3",
            "party.toml:59: [limits]: 'connections_max' is below sessions_max = 4; each session needs a connection",
        ),
        (
            // too little memory for anything
            "memory_mb = 4096",
            "memory_mb = 16",
            "party.toml:60: [limits]: 'memory_mb' is 16; it must be 64 to 16777216",
        ),
        (
            // more to keep than there is
            "blind_ahead_mb = 0",
            "blind_ahead_mb = 4097",
            "party.toml:61: [limits]: 'blind_ahead_mb' is above memory_mb = 4096; what is blinded ahead takes its room from there",
        ),
    ];
    for (from, to, expected) in cases {
        match Party::parse(&changed(from, to), "party.toml") {
            Ok(_) => panic!("accepted: {to}"),
            Err(error) => assert_eq!(error.to_string(), *expected, "{to}"),
        }
    }
}
