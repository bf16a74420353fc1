//! Counter-based random numbers: each number is a function of (key, frame, stream, index), so it doesn't matter who draws first.
//!
//! The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).

const MULTIPLIER: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

/// Returns four random words, made from a counter and a key by ten rounds of Philox4x32.
#[expect(clippy::cast_possible_truncation, reason = "the halves of a 64-bit product are taken apart")]
pub const fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let mut round = 0;
    while round < 10 {
        let a = MULTIPLIER[0] as u64 * counter[0] as u64;
        let b = MULTIPLIER[1] as u64 * counter[2] as u64;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        round += 1;
    }
    counter
}

/// Returns the random number at `index` of `stream` in `frame`, under an agent's `key` ([`crate::FrameContext::random_key`]).
#[expect(clippy::cast_possible_truncation, reason = "a u64 is split into its two words")]
pub const fn random_u64(key: u64, frame: u64, stream: u32, index: u32) -> u64 {
    let words = philox4x32([frame as u32, (frame >> 32) as u32, stream, index], [key as u32, (key >> 32) as u32]);
    words[0] as u64 | (words[1] as u64) << 32
}

/// Returns the key of an agent's random streams in a run with `seed`.
pub const fn agent_key(seed: u64, agent: u64) -> u64 {
    random_u64(seed, agent, 0x6167_656e, 0x6b65_7900)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that Random123 publishes for `philox4x32 10`.
    #[test]
    fn philox_gives_the_known_answers() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn a_number_depends_on_every_part_of_its_address() {
        let base = random_u64(1, 2, 3, 4);
        for other in [random_u64(9, 2, 3, 4), random_u64(1, 9, 3, 4), random_u64(1, 2, 9, 4), random_u64(1, 2, 3, 9)] {
            assert_ne!(base, other);
        }
        assert_ne!(agent_key(1, 2), agent_key(1, 3));
        assert_ne!(agent_key(1, 2), agent_key(2, 2));
    }
}
