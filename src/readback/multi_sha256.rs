//! SHA-256 (FIPS 180-4) of eight messages at once, for processors that have wide registers but no instructions
//! for SHA-256: those take five times less time this way than one message after the other.
//!
//! The code is plain: each word is an array of eight, one element for each message, and the compiler makes
//! vector instructions of it.

/// Messages at once.
pub(super) const LANES: usize = 8;
/// Bytes that are hashed at once.
pub(super) const BLOCK: usize = 64;

/// A word of each message.
type Words<const L: usize> = [u32; L];

/// First 32 bits of the fractional parts of the square roots of the first 8 primes.
const INITIAL: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// First 32 bits of the fractional parts of the cube roots of the first 64 primes.
#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// Eight messages that are being hashed.
pub(super) struct MultiSha256 {
    state: [Words<LANES>; 8],
    len: [u64; LANES],
}

impl MultiSha256 {
    /// Returns whether this is the fastest way here: the code is optimised, there is AVX2, and there are no SHA
    /// extensions.
    pub(super) fn are_fast() -> bool {
        #[cfg(target_arch = "x86_64")]
        return !cfg!(debug_assertions)
            && is_x86_feature_detected!("avx2")
            && !is_x86_feature_detected!("sha");
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// Eight empty messages.
    pub(super) fn new() -> MultiSha256 {
        MultiSha256 { state: INITIAL.map(|word| [word; LANES]), len: [0; LANES] }
    }

    /// Appends whole blocks to each message, to each as many as there are.
    pub(super) fn update(&mut self, mut parts: [&[u8]; LANES]) {
        loop {
            let rest = parts.iter().map(|part| part.len() / BLOCK).filter(|blocks| *blocks > 0).min();
            let Some(len) = rest.map(|blocks| blocks * BLOCK) else { break };
            let before = self.state;
            let used = parts.map(|part| part.len() >= BLOCK);
            let other = *parts.iter().find(|part| part.len() >= len).expect("one is the shortest");
            let blocks = parts.map(|part| if part.len() >= BLOCK { &part[..len] } else { &other[..len] });
            compress_fast(&mut self.state, &blocks);
            for lane in 0..LANES {
                if used[lane] {
                    self.len[lane] += len as u64;
                    parts[lane] = &parts[lane][len..];
                } else {
                    (0..8).for_each(|word| self.state[word][lane] = before[word][lane]);
                }
            }
        }
    }

    /// The digest of a message that ends with `tail`, less than a block.
    pub(super) fn finish(&self, lane: usize, tail: &[u8]) -> [u8; 32] {
        let mut end = [0; 2 * BLOCK];
        end[..tail.len()].copy_from_slice(tail);
        end[tail.len()] = 0x80;
        let len = if tail.len() + 9 <= BLOCK { BLOCK } else { 2 * BLOCK };
        let bits = 8 * (self.len[lane] + tail.len() as u64);
        end[len - 8..len].copy_from_slice(&bits.to_be_bytes());
        let mut state = self.state.map(|words| [words[lane]]);
        compress(&mut state, &[&end[..len]]);
        let mut digest = [0; 32];
        for ([word], bytes) in state.iter().zip(digest.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }
}

/// The compiler's best for the processor at hand.
fn compress_fast(state: &mut [Words<LANES>; 8], parts: &[&[u8]; LANES]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn compress_avx2(state: &mut [Words<LANES>; 8], parts: &[&[u8]; LANES]) {
            compress(state, parts);
        }
        // SAFETY: the function is safe but for the processor it needs, which was asked for.
        return unsafe { compress_avx2(state, parts) };
    }
    compress(state, parts);
}

/// Section 6.2.2, for whole blocks; all parts have the same length.
///
/// Written as one function with plain loops: in smaller ones, or with iterators, the words do not stay in
/// registers, and it takes two to three times as long.
#[inline(always)]
fn compress<const L: usize>(state: &mut [Words<L>; 8], parts: &[&[u8]; L]) {
    for at in (0..parts[0].len()).step_by(BLOCK) {
        let mut w = [[0; L]; 16];
        for (lane, part) in parts.iter().enumerate() {
            for (index, bytes) in part[at..at + BLOCK].as_chunks::<4>().0.iter().enumerate() {
                w[index][lane] = u32::from_be_bytes(*bytes);
            }
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
        // Four times 16 rounds: the compiler unrolls loops of 16.
        for rounds in 0..4 {
            if rounds > 0 {
                for i in 0..16 {
                    let (w16, w15, w7, w2) = (w[i], w[(i + 1) % 16], w[(i + 9) % 16], w[(i + 14) % 16]);
                    w[i] = each(|l| {
                        let sigma0 = w15[l].rotate_right(7) ^ w15[l].rotate_right(18) ^ (w15[l] >> 3);
                        let sigma1 = w2[l].rotate_right(17) ^ w2[l].rotate_right(19) ^ (w2[l] >> 10);
                        w16[l].wrapping_add(sigma0).wrapping_add(w7[l]).wrapping_add(sigma1)
                    });
                }
            }
            for i in 0..16 {
                let (k, w) = (K[16 * rounds + i], w[i]);
                let t1: Words<L> = each(|l| {
                    let sum = e[l].rotate_right(6) ^ e[l].rotate_right(11) ^ e[l].rotate_right(25);
                    let choice = (e[l] & f[l]) ^ (!e[l] & g[l]);
                    h[l].wrapping_add(sum).wrapping_add(choice).wrapping_add(k).wrapping_add(w[l])
                });
                let t2: Words<L> = each(|l| {
                    let sum = a[l].rotate_right(2) ^ a[l].rotate_right(13) ^ a[l].rotate_right(22);
                    let majority = (a[l] & b[l]) ^ (a[l] & c[l]) ^ (b[l] & c[l]);
                    sum.wrapping_add(majority)
                });
                h = g;
                g = f;
                f = e;
                e = each(|l| d[l].wrapping_add(t1[l]));
                d = c;
                c = b;
                b = a;
                a = each(|l| t1[l].wrapping_add(t2[l]));
            }
        }
        for (sum, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = each(|l| sum[l].wrapping_add(word[l]));
        }
    }
}

#[inline(always)]
fn each<const L: usize>(word: impl Fn(usize) -> u32) -> Words<L> {
    let mut words = [0; L];
    let mut lane = 0;
    while lane < L {
        words[lane] = word(lane);
        lane += 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn eight_messages_of_any_length_have_the_digests_of_one() {
        let bytes: Vec<u8> = (0..5000_u32).map(|at| (at * at / 7) as u8).collect();
        for lens in [[0, 1, 55, 56, 63, 64, 65, 5000], [4096; 8], [119, 120, 127, 128, 129, 640, 641, 0]] {
            let mut lanes = MultiSha256::new();
            let messages = lens.map(|len| &bytes[..len]);
            // In two goes, the first of which ends in the middle of some.
            lanes.update(messages.map(|message| &message[..message.len().min(128)]));
            lanes.update(messages.map(|message| &message[message.len().min(128) / BLOCK * BLOCK..]));
            for (lane, message) in messages.into_iter().enumerate() {
                let tail = &message[message.len() / BLOCK * BLOCK..];
                let expected: [u8; 32] = Sha256::digest(message).into();
                assert_eq!(lanes.finish(lane, tail), expected, "{lens:?} {lane}");
            }
        }
    }
}
