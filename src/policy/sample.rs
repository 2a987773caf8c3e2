//! The text of a new party's `party.toml`: every key with its default and a sentence, so that it is the reference
//! as well. What a new party cannot know yet (its tables, its peers) stands there commented out.

/// `NAME` is the party's name. Lines that begin with `#` and no blank are TOML to be uncommented; those with a
/// blank are prose.
const SAMPLE: &str = r##"# The policy of NAME: what it shares with whom, and what it gives away when it asks.
# Lines such as `#key = …` are examples or defaults: take the # away and change them. `datafusion-psi check` says in
# sentences what this file means, and what is wrong with it. Unknown keys are errors: nothing is passed over.
# Paths are relative to this file.

[party]
name = "NAME"                         # lower case, digits and _: a peer is a schema in SQL
state = "state/"                      # ledger and audit: keep it, and never restore an old copy of it
# A party that only asks has its certificate here, and no [server]:
#certificate = "tls/NAME.pem"
#key = "tls/NAME.key"

[server]
listen = "127.0.0.1:50051"            # where peers ask; 0.0.0.0:50051 to be reached from other machines
certificate = "tls/NAME.pem"          # give this file to your peers; self-signed is enough, they pin it
key = "tls/NAME.key"                  # and this one to nobody: mode 600
#clients = "tls/analysts.pem"         # certificates of those who may run SQL here as this party, by Flight SQL; a file of several, or a list of files
#tokens = "tls/tokens.txt"            # or their bearer tokens: lines that `datafusion-psi token ANALYST` prints; mode 600
#plaintext = true                     # in place of certificate and key: no TLS, on loopback alone, for trying out

# The tables on this party's disk; several [[table]] are fine.
#[[table]]
#name = "purchases"
#location = "data/purchases/*.parquet" # a file, a folder, a glob, or a list of them: Parquet, CSV, JSON

# The other parties.
#[[peer]]
#name = "publisher"
#address = "grpc+tls://psi.publisher.example:50051"
#certificate = "tls/publisher.pem"    # the file that the peer gave you, or a list: the old one and the new one
#plaintext = true                     # in place of certificate, with an address grpc://127.0.0.1:PORT

# A table shown to peers, and the rules for it. A table without [[share]] is shown to nobody.
#[[share]]
#table = "purchases"
#with = ["publisher"]
# What persons may be matched by: a column and its normaliser (exact/1, email/1, phone/1:REGION, sha256/1), or several columns.
#identifiers = { email = "email/1", phone = "phone/1:US", person = { columns = ["surname", "born"], as = "exact/1" } }
# Columns that may be summed or counted. Per person: its total is clipped to min and max, its rows are counted up to max_rows.
# { max_rows = 20 } alone: counted only. Floats need decimals = 2, say. squares_max bounds one person's sum of squares, which
# variances need; where it is not written, it is the larger bound squared.
#aggregates = { amount = { min = 0, max = 500, max_rows = 20 } }
#requester_values = false             # the default; { min = 0, max = 100, max_rows = 20 }: the asker may sum its own columns over matches
#filter_on = ["bought_at", "category"] # columns that the asker's WHERE may name; none by default
#group_by = { category = ["toys", "books", "garden"] } # columns to group by, each with a public list of labels; none by default
#max_labels = 1                       # the default: one person counts in at most so many labels
#max_parts = 1                        # the default: the groups by columns of its own that the asker may use; 1 is no grouping
#minimum_matched = 50                 # the default: fewer matches, by their noisy number, and there is no answer; 0 switches it off
#filtered_rows = "hide"               # the default: the asker sees the table's length, whatever its filter; "pad": about how many rows pass; "reveal": how many
#approval = "none"                    # the default; "required": each new question waits for `datafusion-psi approve --config party.toml ID`
#[share.budget]
#population = "shoppers"              # the people it is about: shares of the same people draw on one account, and have equal budgets
#queries = 10                         # the most questions of a period
#sizes = { epsilon = 2.0 }            # the noise on numbers of matches, all questions together; delta = 1e-7 defaults to 1 / (10 persons); { exact = true }: none
#outputs = { epsilon = 4.0 }          # the noise on answers, all questions together; { epsilon = 4.0, delta = 1e-7, noise = "gaussian" }; { noise = "none" }: exact
#period = "forever"                   # the default: what is spent is spent; "day", "week", "month": the budget renews (UTC, weeks from Monday)

# What this party gives away when it asks.
#[[ask]]
#of = ["publisher"]                   # or ["*"]: peers that no [[peer]] names, and an analyst does, by CREATE EXTERNAL TABLE … STORED AS PSI
#population = "shoppers"
#rows = "pad"                         # the default: the peer sees about how many persons a question is about; "reveal": how many
#identifiers = 3                      # the default: the most identifiers of a question
#[ask.budget]
#queries = 100
#sizes = { epsilon = 2.0 }            # as above
#period = "forever"                   # as above

# Every default, and what it bounds.
#[ot]
#width = 4                            # of the oblivious transfer: 1, 2, 4 or 8; a larger one sends less and computes more

#[limits]
#persons_max = 10_000_000             # entries of either table in one session: memory and time
#dummies_max = 1_000_000              # dummies per identifier that a peer may make this party add
#dummies_factor_max = 4               # and how many times this party's own number
#sessions_max = 4                     # sessions served at once; more are refused in words
#sessions_per_peer_max = 2            # and of one peer
#connections_max = 64                 # connections held open at once, of peers and strangers
#memory_mb = 4096                     # for all sessions with peers together, and as much for analysts; then files in TMPDIR
#blind_ahead_mb = 0                   # of these, for tables that are blinded before the next question: it is answered sooner; 32 bytes per person and identifier
#handshake_seconds_max = 10           # for TLS and a first request
#connect_seconds_max = 10             # to reach a peer
#stall_seconds_max = 60               # that a peer may send and accept nothing
#session_seconds_max = 3600           # for a whole session
"##;

/// A commented `party.toml` for a new party, with every key, its default and a sentence. It is a policy that
/// shares nothing and asks nobody, and can be read as it is; only its certificate and key have to be made.
///
/// `party_name` has to be a possible name: lower-case letters, digits and `_`.
pub fn sample(party_name: &str) -> String {
    SAMPLE.replace("NAME", party_name)
}
