//! Names and values of a stream, and their compressed block: one zlib stream for all blocks of a direction, begun with a
//! dictionary that both sides know.

use crate::Broken;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// Most bytes of a block once it is decompressed. A Kubernetes stream has three short headers.
pub const LARGEST_HEADERS: usize = 16 << 10;

/// The words of the dictionary, each of them with its length before it (draft 3.1, 2.6.10.1).
const WORDS: [&str; 65] = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// What follows the words.
const TAIL: &str = concat!(
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505",
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden",
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable",
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT",
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,",
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
);

/// Names, in lower case, and values, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

/// Decompresses the blocks of one direction, in their order.
pub(crate) struct Inflater(Decompress);

/// Compresses the blocks of one direction, in their order.
pub(crate) struct Deflater(Compress);

// === impl Headers ===

impl Headers {
    /// Of pairs; a name becomes lower case, as it travels.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Headers {
        let pairs = pairs.into_iter();
        Headers(
            pairs
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
        )
    }

    /// The first value of a name, whose case does not matter.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn to_block(&self) -> Vec<u8> {
        let mut block = Vec::new();
        put_length(&mut block, self.0.len());
        for (name, value) in &self.0 {
            for text in [name, value] {
                put_length(&mut block, text.len());
                block.extend_from_slice(text.as_bytes());
            }
        }
        block
    }

    /// None for what is no block. Several values of a name, a zero byte between them, become several headers.
    fn from_block(mut block: &[u8]) -> Option<Headers> {
        let count = take_length(&mut block)?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            let name = take_text(&mut block)?;
            let values = take_text(&mut block)?;
            for value in values.split('\0') {
                pairs.push((name.to_ascii_lowercase(), value.to_owned()));
            }
        }
        block.is_empty().then_some(Headers(pairs))
    }
}

fn put_length(block: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    block.extend_from_slice(&length.to_be_bytes());
}

fn take_length(block: &mut &[u8]) -> Option<usize> {
    let (length, rest) = block.split_first_chunk::<4>()?;
    *block = rest;
    usize::try_from(u32::from_be_bytes(*length)).ok()
}

fn take_text(block: &mut &[u8]) -> Option<String> {
    let length = take_length(block)?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    String::from_utf8(text.to_vec()).ok()
}

fn dictionary() -> Vec<u8> {
    let mut dictionary = Vec::new();
    for word in WORDS {
        put_length(&mut dictionary, word.len());
        dictionary.extend_from_slice(word.as_bytes());
    }
    dictionary.extend_from_slice(TAIL.as_bytes());
    dictionary
}

// === impl Inflater ===

impl Inflater {
    pub(crate) fn new() -> Inflater {
        Inflater(Decompress::new(true))
    }

    /// One block. After an error the whole direction is lost.
    pub(crate) fn headers(&mut self, compressed: &[u8]) -> Result<Headers, Broken> {
        let block = self.inflate(compressed)?;
        Headers::from_block(&block).ok_or(Broken::Compression)
    }

    fn inflate(&mut self, mut compressed: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut block = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let (taken, made) = (self.0.total_in(), self.0.total_out());
            let result = self.0.decompress(compressed, &mut piece, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - taken).unwrap_or(usize::MAX);
            let made = usize::try_from(self.0.total_out() - made).unwrap_or(usize::MAX);
            compressed = compressed.get(taken..).ok_or(Broken::Compression)?;
            block.extend_from_slice(piece.get(..made).ok_or(Broken::Compression)?);
            if block.len() > LARGEST_HEADERS {
                return Err(Broken::TooManyHeaders);
            }
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| Broken::Compression)?;
                }
                Err(_) => return Err(Broken::Compression),
                // A full piece: there may be more behind it, even without more input.
                Ok(_) if made == piece.len() => {}
                Ok(_) if compressed.is_empty() => return Ok(block),
                Ok(_) if taken == 0 && made == 0 => return Err(Broken::Compression),
                Ok(_) => {}
            }
        }
    }
}

// === impl Deflater ===

impl Deflater {
    pub(crate) fn new() -> Deflater {
        let mut compress = Compress::new(Compression::fast(), true);
        // Refused only after the first byte, and there was none.
        let _ = compress.set_dictionary(&dictionary());
        Deflater(compress)
    }

    pub(crate) fn block(&mut self, headers: &Headers) -> Vec<u8> {
        let block = headers.to_block();
        let mut rest = block.as_slice();
        let mut compressed = Vec::new();
        let mut piece = [0; 1024];
        loop {
            let (taken, made) = (self.0.total_in(), self.0.total_out());
            // Only a finished stream is an error, and this one never finishes.
            let _ = self.0.compress(rest, &mut piece, FlushCompress::Sync);
            let taken = usize::try_from(self.0.total_in() - taken).unwrap_or(usize::MAX);
            let made = usize::try_from(self.0.total_out() - made).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            compressed.extend_from_slice(piece.get(..made).unwrap_or_default());
            if made < piece.len() && rest.is_empty() || made == 0 && taken == 0 {
                return compressed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_one_that_all_others_have() {
        let dictionary = dictionary();
        assert_eq!(dictionary.len(), 1423);
        let id = Compress::new(Compression::fast(), true)
            .set_dictionary(&dictionary)
            .unwrap();
        assert_eq!(id, 0xe3c6_a7c2);
    }

    #[test]
    fn blocks_come_back_in_their_order() {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        let much = "x".repeat(8000);
        for pairs in [
            vec![("streamType", "error"), ("port", "80"), ("requestID", "0")],
            vec![],
            vec![("streamType", "data"), ("long", much.as_str())],
        ] {
            let headers = Headers::new(pairs.clone());
            let back = inflater.headers(&deflater.block(&headers)).unwrap();
            assert_eq!(back, headers);
            for (name, value) in pairs {
                assert_eq!(back.get(name), Some(value));
            }
        }
    }

    #[test]
    fn several_values_are_several_headers() {
        let mut block = Vec::new();
        put_length(&mut block, 1);
        for text in ["A", "x\0y"] {
            put_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
        assert_eq!(
            Headers::from_block(&block),
            Some(Headers::new([("a", "x"), ("a", "y")]))
        );
    }

    #[test]
    fn bombs_and_nonsense_are_refused() {
        let bomb = "0".repeat(4 << 20);
        let compressed = Deflater::new().block(&Headers::new([("bomb", bomb.as_str())]));
        assert_eq!(Inflater::new().headers(&compressed), Err(Broken::TooManyHeaders));
        let wrong = [0x78, 0xbb, 1, 2, 3, 4];
        assert_eq!(Inflater::new().headers(&wrong), Err(Broken::Compression));
        assert_eq!(Inflater::new().headers(b""), Err(Broken::Compression));
        assert_eq!(Inflater::new().headers(b"nonsense"), Err(Broken::Compression));
        for block in [&[0, 0, 0, 1][..], &[0xff; 8], &[0, 0, 0, 0, 0]] {
            assert_eq!(Headers::from_block(block), None);
        }
    }
}
