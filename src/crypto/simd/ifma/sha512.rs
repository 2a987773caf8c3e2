//! SHA-512 (FIPS 180-4) of eight messages at a time, each short enough for a single block.

use zeroize::Zeroize;

use super::word::Word;
use super::{Ifma, LANES};
use crate::crypto::simd::vector::{self, Word as _};

type Lanes = vector::Lanes<LANES>;

/// Bytes of a block.
const BLOCK_BYTES: usize = 128;
/// The longest message that fits a block with its padding: a bit, and its length in 16 bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = BLOCK_BYTES - 17;
/// Words that a block holds, and that the schedule keeps.
const BLOCK_WORDS: usize = 16;

/// Section 4.2.3: the first 64 bits of the fractional parts of the first eighty primes' cube roots.
const ROUND_CONSTANTS: [u64; 80] = [
    0x428a_2f98_d728_ae22,
    0x7137_4491_23ef_65cd,
    0xb5c0_fbcf_ec4d_3b2f,
    0xe9b5_dba5_8189_dbbc,
    0x3956_c25b_f348_b538,
    0x59f1_11f1_b605_d019,
    0x923f_82a4_af19_4f9b,
    0xab1c_5ed5_da6d_8118,
    0xd807_aa98_a303_0242,
    0x1283_5b01_4570_6fbe,
    0x2431_85be_4ee4_b28c,
    0x550c_7dc3_d5ff_b4e2,
    0x72be_5d74_f27b_896f,
    0x80de_b1fe_3b16_96b1,
    0x9bdc_06a7_25c7_1235,
    0xc19b_f174_cf69_2694,
    0xe49b_69c1_9ef1_4ad2,
    0xefbe_4786_384f_25e3,
    0x0fc1_9dc6_8b8c_d5b5,
    0x240c_a1cc_77ac_9c65,
    0x2de9_2c6f_592b_0275,
    0x4a74_84aa_6ea6_e483,
    0x5cb0_a9dc_bd41_fbd4,
    0x76f9_88da_8311_53b5,
    0x983e_5152_ee66_dfab,
    0xa831_c66d_2db4_3210,
    0xb003_27c8_98fb_213f,
    0xbf59_7fc7_beef_0ee4,
    0xc6e0_0bf3_3da8_8fc2,
    0xd5a7_9147_930a_a725,
    0x06ca_6351_e003_826f,
    0x1429_2967_0a0e_6e70,
    0x27b7_0a85_46d2_2ffc,
    0x2e1b_2138_5c26_c926,
    0x4d2c_6dfc_5ac4_2aed,
    0x5338_0d13_9d95_b3df,
    0x650a_7354_8baf_63de,
    0x766a_0abb_3c77_b2a8,
    0x81c2_c92e_47ed_aee6,
    0x9272_2c85_1482_353b,
    0xa2bf_e8a1_4cf1_0364,
    0xa81a_664b_bc42_3001,
    0xc24b_8b70_d0f8_9791,
    0xc76c_51a3_0654_be30,
    0xd192_e819_d6ef_5218,
    0xd699_0624_5565_a910,
    0xf40e_3585_5771_202a,
    0x106a_a070_32bb_d1b8,
    0x19a4_c116_b8d2_d0c8,
    0x1e37_6c08_5141_ab53,
    0x2748_774c_df8e_eb99,
    0x34b0_bcb5_e19b_48a8,
    0x391c_0cb3_c5c9_5a63,
    0x4ed8_aa4a_e341_8acb,
    0x5b9c_ca4f_7763_e373,
    0x682e_6ff3_d6b2_b8a3,
    0x748f_82ee_5def_b2fc,
    0x78a5_636f_4317_2f60,
    0x84c8_7814_a1f0_ab72,
    0x8cc7_0208_1a64_39ec,
    0x90be_fffa_2363_1e28,
    0xa450_6ceb_de82_bde9,
    0xbef9_a3f7_b2c6_7915,
    0xc671_78f2_e372_532b,
    0xca27_3ece_ea26_619c,
    0xd186_b8c7_21c0_c207,
    0xeada_7dd6_cde0_eb1e,
    0xf57d_4f7f_ee6e_d178,
    0x06f0_67aa_7217_6fba,
    0x0a63_7dc5_a2c8_98a6,
    0x113f_9804_bef9_0dae,
    0x1b71_0b35_131c_471b,
    0x28db_77f5_2304_7d84,
    0x32ca_ab7b_40c7_2493,
    0x3c9e_be0a_15c9_bebc,
    0x431d_67c4_9c10_0d4c,
    0x4cc5_d4be_cb3e_42b6,
    0x597f_299c_fc65_7e2a,
    0x5fcb_6fab_3ad6_faec,
    0x6c44_198c_4a47_5817,
];

/// Section 5.3.5: those of the first eight primes' square roots.
const INITIAL: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// Eight padded blocks, word by word.
pub(super) struct Blocks([Lanes; BLOCK_WORDS]);

impl Blocks {
    /// Empty messages' worth of zeros in every lane.
    pub(super) fn new() -> Self {
        Self([Lanes::default(); BLOCK_WORDS])
    }

    /// The message `head` ‖ `body`, of at most [`MESSAGE_BYTES_MAX`] bytes, in lane `lane`.
    pub(super) fn set(&mut self, lane: usize, head: &[u8], body: &[u8]) {
        let mut block = [0; BLOCK_BYTES];
        let bytes = head.len() + body.len();
        block[..head.len()].copy_from_slice(head);
        block[head.len()..bytes].copy_from_slice(body);
        // Section 5.1.2.
        block[bytes] = 0x80;
        block[BLOCK_BYTES - 8..].copy_from_slice(&(8 * bytes as u64).to_be_bytes());
        let (words, _) = block.as_chunks();
        for (lanes, word) in self.0.iter_mut().zip(words) {
            lanes.0[lane] = u64::from_be_bytes(*word);
        }
        block.zeroize();
    }

    /// The digest of each lane's message (section 6.4.2); its first rows go to `digests`.
    #[inline(always)]
    pub(super) fn digest(&self, machine: Ifma, digests: &mut [[u8; 64]]) {
        let mut hashed = self.compress(machine);
        for (lane, digest) in digests.iter_mut().enumerate().take(LANES) {
            let (words, _) = digest.as_chunks_mut();
            for (word, lanes) in words.iter_mut().zip(&hashed) {
                *word = lanes.0[lane].to_be_bytes();
            }
        }
        hashed.zeroize();
    }

    #[inline(always)]
    fn compress(&self, machine: Ifma) -> [Lanes; 8] {
        let mut schedule = [Word::splat(machine, 0); BLOCK_WORDS];
        for (word, lanes) in schedule.iter_mut().zip(&self.0) {
            *word = Word::load(machine, lanes);
        }
        let mut state = [Word::splat(machine, 0); 8];
        for (word, initial) in state.iter_mut().zip(INITIAL) {
            *word = Word::splat(machine, initial);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for rounds in 0..ROUND_CONSTANTS.len() / BLOCK_WORDS {
            for t in 0..BLOCK_WORDS {
                if rounds > 0 {
                    let (near, far) = (schedule[(t + 14) % BLOCK_WORDS], schedule[(t + 1) % BLOCK_WORDS]);
                    let old = schedule[t].plus(schedule[(t + 9) % BLOCK_WORDS]);
                    schedule[t] = old.plus(small_sigma_1(near)).plus(small_sigma_0(far));
                }
                let word = schedule[t].plus(Word::splat(machine, ROUND_CONSTANTS[BLOCK_WORDS * rounds + t]));
                // Ch is f where e is set, else g.
                let t1 = h.plus(word).plus(e.choose(g, f)).plus(big_sigma_1(e));
                let t2 = big_sigma_0(a).plus(a.majority(b, c));
                (h, g, f, e) = (g, f, e, d.plus(t1));
                (d, c, b, a) = (c, b, a, t1.plus(t2));
            }
        }
        let mut hashed = [Lanes::default(); 8];
        for ((lanes, word), initial) in hashed.iter_mut().zip([a, b, c, d, e, f, g, h]).zip(INITIAL) {
            *lanes = word.plus(Word::splat(machine, initial)).store();
        }
        hashed
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Σ0
#[inline(always)]
fn big_sigma_0(x: Word) -> Word {
    x.rotated::<28>().xor3(x.rotated::<34>(), x.rotated::<39>())
}

/// Σ1
#[inline(always)]
fn big_sigma_1(x: Word) -> Word {
    x.rotated::<14>().xor3(x.rotated::<18>(), x.rotated::<41>())
}

/// σ0
#[inline(always)]
fn small_sigma_0(x: Word) -> Word {
    x.rotated::<1>().xor3(x.rotated::<8>(), x.down::<7>())
}

/// σ1
#[inline(always)]
fn small_sigma_1(x: Word) -> Word {
    x.rotated::<19>().xor3(x.rotated::<61>(), x.down::<6>())
}
