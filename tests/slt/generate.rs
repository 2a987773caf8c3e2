//! Questions put together by dice: terms, own sides, conditions and aggregates of each kind, in every combination that the
//! dice find. The same seed gives the same questions; the files hold them with their answers.

/// Dice that fall alike on every machine: splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }

    /// Some of the choices, each at most once, in an order of their own.
    fn some<T: Copy>(&mut self, from: &[T], count: usize) -> Vec<T> {
        let mut left = from.to_vec();
        (0..count.min(from.len())).map(|_| left.swap_remove(self.roll(left.len()))).collect()
    }
}

/// What questions of a world are put together from.
struct Parts {
    /// Relations of one's own, with the alias that the terms name.
    own: &'static [&'static str],
    table: &'static str,
    terms: &'static [&'static str],
    own_conditions: &'static [&'static str],
    conditions: &'static [&'static str],
    aggregates: &'static [&'static str],
}

const PEOPLE: Parts = Parts {
    own: &[
        "sightings s",
        "sightings s",
        "(SELECT * FROM sightings WHERE sighting % 3 <> 1) s",
        "(SELECT * FROM sightings UNION ALL SELECT * FROM sightings WHERE place = 'mall') s",
        "(SELECT * FROM sightings ORDER BY sighting LIMIT 150) s",
        "(SELECT t.*, row_number() OVER (PARTITION BY place ORDER BY sighting) AS number FROM sightings t) s",
        "(SELECT t.* FROM sightings t JOIN places l ON t.place = l.place WHERE l.side = 'south') s",
    ],
    table: "advertiser.visits v",
    terms: &[
        "s.email = v.email",
        "s.phone = v.phone",
        "s.card = v.card",
        "(s.surname = v.surname AND s.born = v.born)",
        "s.email2 = v.email",
        "v.phone = CASE WHEN s.clicks > 4 THEN replace(s.phone, '+1', '') END",
        "coalesce(s.email2, s.email) = v.email",
    ],
    own_conditions: &[
        "s.place = 'park'",
        "s.place IS NULL",
        "s.clicks > 4",
        "s.clicks % 3 <> 0",
        "s.cost BETWEEN 0 AND 3",
        "s.sighting > 250 AND s.surname <> 'C'",
        "s.seconds < 4 OR s.place = 'mall'",
    ],
    conditions: &[
        "v.kind = 'web'",
        "v.kind <> 'web'",
        "v.kind IS NULL",
        "v.kind IN ('shop', 'fair')",
        "v.kind LIKE '%a%' OR v.amount > 40",
        "v.day >= DATE '2026-02-15'",
        "EXTRACT(month FROM v.day) = 2",
        "v.amount BETWEEN 0 AND 50",
        "v.amount IS NOT NULL AND v.returned IS NOT TRUE",
        "NOT (v.returned OR v.amount < 10)",
        "v.price > 1.5",
        "CASE WHEN v.returned THEN v.amount > 30 ELSE v.price > 0 END",
        "coalesce(v.kind, 'none') = 'none'",
        "upper(v.kind) = 'SHOP'",
    ],
    aggregates: &[
        "PRIVATE_INTERSECT_COUNT(*)",
        "PRIVATE_INTERSECT_SUM(v.amount)",
        "PRIVATE_INTERSECT_COUNT(v.amount)",
        "PRIVATE_INTERSECT_AVG(v.amount)",
        "PRIVATE_INTERSECT_SUM(v.price)",
        "PRIVATE_INTERSECT_AVG(v.price)",
        "PRIVATE_INTERSECT_SUM(v.weight)",
        "PRIVATE_INTERSECT_COUNT(v.weight)",
        "PRIVATE_INTERSECT_COUNT(v.kind)",
        "PRIVATE_INTERSECT_COUNT(v.day)",
        "PRIVATE_INTERSECT_SUM(s.clicks)",
        "PRIVATE_INTERSECT_COUNT(s.clicks)",
        "PRIVATE_INTERSECT_AVG(s.cost)",
        "PRIVATE_INTERSECT_SUM(s.seconds)",
        "PRIVATE_INTERSECT_SUM(s.clicks - 5)",
        "2 * PRIVATE_INTERSECT_COUNT(*) - 1",
        "PRIVATE_INTERSECT_SUM(v.amount) - PRIVATE_INTERSECT_SUM(s.clicks)",
    ],
};

const UNIQUE: Parts = Parts {
    own: &[
        "impressions i",
        "impressions i",
        "(SELECT * FROM impressions WHERE reader % 4 <> 1) i",
        "(SELECT * FROM impressions ORDER BY reader DESC LIMIT 70) i",
        "(SELECT x.* FROM impressions x JOIN readers r USING (reader) WHERE r.age < 60) i",
        "(SELECT * FROM impressions WHERE clicks IS NULL UNION ALL SELECT * FROM impressions WHERE clicks > 3) i",
    ],
    table: "advertiser.purchases p",
    terms: &[
        "i.email = p.email",
        "i.phone = p.phone",
        "p.device = i.device",
        "p.customer = i.customer",
        "(i.surname = p.surname AND i.born = p.born)",
    ],
    own_conditions: &[
        "i.campaign = 'spring'",
        "i.campaign IS NULL",
        "i.clicks > 10",
        "i.seconds < 3 OR i.cost > 1",
        "i.seen_on < DATE '2026-02-25'",
    ],
    conditions: &[
        "p.category = 'toys'",
        "p.category <> 'toys'",
        "p.category IN ('books', 'garden')",
        "lower(p.category) LIKE 'toys%'",
        "p.amount > 10",
        "p.amount IS NULL OR p.items > 3",
        "p.bought_on < DATE '2026-03-10'",
        "EXTRACT(month FROM p.bought_on) IN (1, 3)",
        "p.gift IS NOT FALSE",
        "NOT p.gift",
        "p.price BETWEEN 5 AND 45.5",
    ],
    aggregates: &[
        "PRIVATE_INTERSECT_COUNT(*)",
        "PRIVATE_INTERSECT_SUM(p.amount)",
        "PRIVATE_INTERSECT_COUNT(p.amount)",
        "PRIVATE_INTERSECT_AVG(p.amount)",
        "PRIVATE_INTERSECT_SUM(p.price)",
        "PRIVATE_INTERSECT_AVG(p.price)",
        "PRIVATE_INTERSECT_SUM(p.items)",
        "PRIVATE_INTERSECT_COUNT(p.category)",
        "PRIVATE_INTERSECT_SUM(i.clicks)",
        "PRIVATE_INTERSECT_AVG(i.clicks)",
        "PRIVATE_INTERSECT_SUM(i.cost)",
        "PRIVATE_INTERSECT_SUM(i.seconds)",
        "PRIVATE_INTERSECT_COUNT(i.campaign)",
    ],
};

/// The questions of a world's `generated.slt`; none for a world without one.
pub(super) fn questions(world: &str) -> Option<Vec<String>> {
    let (parts, count, seed) = match world {
        "people" => (&PEOPLE, 120, 5),
        "unique" => (&UNIQUE, 50, 7),
        _ => return None,
    };
    let mut dice = Dice(seed);
    let mut questions: Vec<String> = Vec::new();
    while questions.len() < count {
        let question = question(parts, &mut dice);
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    Some(questions)
}

fn question(parts: &Parts, dice: &mut Dice) -> String {
    let words = 1 + dice.roll(4);
    let aggregates = dice.some(parts.aggregates, words);
    let alternatives = 1 + dice.roll(4);
    let terms = dice.some(parts.terms, alternatives).join(" OR ");
    let own = dice.pick(parts.own);
    let mut conditions = Vec::new();
    if dice.roll(3) == 0 {
        conditions.push(dice.pick(parts.own_conditions));
    }
    for _ in 0..dice.pick(&[0, 0, 1, 1, 1, 2]) {
        let condition = dice.pick(parts.conditions);
        if !conditions.contains(&condition) {
            conditions.push(condition);
        }
    }
    let mut conditions: Vec<String> = conditions.into_iter().map(|condition| format!("({condition})")).collect();
    let table = parts.table;
    // The same join in the ways that it is written.
    let from = match dice.roll(5) {
        0 => {
            conditions.insert(0, format!("({terms})"));
            format!("{own}, {table}")
        }
        1 => format!("{table} JOIN {own} ON {terms}"),
        _ => format!("{own} JOIN {table} ON {terms}"),
    };
    let filter = match conditions.as_slice() {
        [] => String::new(),
        conditions => format!("\nWHERE {}", conditions.join(" AND ")),
    };
    format!("SELECT {}\nFROM {from}{filter}", aggregates.join(", "))
}

/// The questions as a file, without answers.
pub(super) fn file(questions: &[String]) -> String {
    let head = "# Put together by dice: see generate.rs, which this file is held against.\n";
    let records = questions.iter().map(|question| format!("\nquery ?\n{question}\n----\n"));
    head.to_owned() + &records.collect::<String>()
}
