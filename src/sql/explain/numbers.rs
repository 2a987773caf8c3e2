//! Numbers for reading.

/// A number of some unit, with as many digits as say something.
pub(super) fn measured(number: f64) -> String {
    match number {
        whole if whole.fract() == 0.0 && whole.abs() < 1e15 => count(whole.abs() as u64),
        large if large.abs() >= 100.0 => count(large.abs().round() as u64),
        small => format!("{small:.3}"),
    }
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 query`, `2 queries`.
pub(super) fn plural(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { several })
}

/// `812 B`, `1.2 KB`, `34.5 MB`: powers of 1000.
pub(super) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    if number < 1000 {
        return format!("{number} B");
    }
    for unit in ["KB", "MB", "GB"] {
        value /= 1000.0;
        if value < 999.95 {
            return format!("{value:.1} {unit}");
        }
    }
    format!("{:.1} TB", value / 1000.0)
}

/// `0.012 s`, `3.4 s`, `7 min 5 s`.
pub(super) fn seconds(number: f64) -> String {
    if number < 1.0 {
        format!("{number:.3} s")
    } else if number < 100.0 {
        format!("{number:.1} s")
    } else {
        format!("{:.0} min {:.0} s", (number / 60.0).floor(), number % 60.0)
    }
}
