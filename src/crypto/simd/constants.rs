//! The constants of RFC 9496, section 4.1. A test recomputes each from its equation.

/// An integer below 2^255 in the limbs of each machine.
pub(super) struct Constant {
    /// Limb i is worth 2^(51·i).
    pub(super) radix_51: [u64; 5],
    /// Limb i is worth 2^⌈25.5·i⌉.
    pub(super) radix_25_5: [u64; 10],
}

impl Constant {
    /// The 255-bit integer of these words.
    pub(super) const fn of([w0, w1, w2, w3]: [u64; 4]) -> Self {
        const LOW_51: u64 = (1 << 51) - 1;
        const LOW_26: u64 = (1 << 26) - 1;
        let [l0, l1, l2, l3, l4] = [
            w0 & LOW_51,
            (w0 >> 51 | w1 << 13) & LOW_51,
            (w1 >> 38 | w2 << 26) & LOW_51,
            (w2 >> 25 | w3 << 39) & LOW_51,
            (w3 >> 12) & LOW_51,
        ];
        // ⌈25.5·2i⌉ = 51·i and ⌈25.5·(2i + 1)⌉ = 51·i + 26
        let halves = [
            [l0 & LOW_26, l0 >> 26],
            [l1 & LOW_26, l1 >> 26],
            [l2 & LOW_26, l2 >> 26],
            [l3 & LOW_26, l3 >> 26],
            [l4 & LOW_26, l4 >> 26],
        ];
        let [[h0, h1], [h2, h3], [h4, h5], [h6, h7], [h8, h9]] = halves;
        Self { radix_51: [l0, l1, l2, l3, l4], radix_25_5: [h0, h1, h2, h3, h4, h5, h6, h7, h8, h9] }
    }
}

/// 0
pub(super) const ZERO: Constant = Constant::of([0, 0, 0, 0]);
/// 1
pub(super) const ONE: Constant = Constant::of([1, 0, 0, 0]);
/// 2
pub(super) const TWO: Constant = Constant::of([2, 0, 0, 0]);
/// The curve's d = −121665/121666; a is −1.
pub(super) const D: Constant =
    Constant::of([0x75eb_4dca_1359_78a3, 0x0070_0a4d_4141_d8ab, 0x8cc7_4079_7779_e898, 0x5203_6cee_2b6f_fe73]);
/// 2·d
pub(super) const TWICE_D: Constant =
    Constant::of([0xebd6_9b94_26b2_f159, 0x00e0_149a_8283_b156, 0x198e_80f2_eef3_d130, 0x2406_d9dc_56df_fce7]);
/// √−1, of the two roots the one that is not negative.
pub(super) const SQRT_M1: Constant =
    Constant::of([0xc4ee_1b27_4a0e_a0b0, 0x2f43_1806_ad2f_e478, 0x2b4d_0099_3dfb_d7a7, 0x2b83_2480_4fc1_df0b]);
/// √(a·d − 1)
pub(super) const SQRT_AD_MINUS_ONE: Constant =
    Constant::of([0x7e97_f6a0_497b_2e1b, 0xaf9d_8e0c_1b78_54bd, 0x0f3c_fcc9_31f5_d1fd, 0x3769_31bf_2b83_48ac]);
/// 1/√(a − d)
pub(super) const INVSQRT_A_MINUS_D: Constant =
    Constant::of([0x99c8_fdaa_805d_40ea, 0x9d2f_1617_5a41_72be, 0x16c2_7b91_fe01_d840, 0x786c_8905_cfaf_fca2]);
/// 1 − d²
pub(super) const ONE_MINUS_D_SQ: Constant =
    Constant::of([0xe27c_09c1_945f_c176, 0x2c81_a138_cd5e_350f, 0x9994_abdd_be70_dfe4, 0x0290_72a8_b2b3_e0d7]);
/// (d − 1)²
pub(super) const D_MINUS_ONE_SQ: Constant =
    Constant::of([0x31ad_5aaa_44ed_4d20, 0xd29e_4a2c_b01e_1999, 0x4cdc_d32f_529b_4eeb, 0x5968_b37a_f66c_2241]);
