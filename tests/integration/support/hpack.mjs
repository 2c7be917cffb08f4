// HPACK (RFC 7541) as an encoder that takes any form on demand: for tests that send headers in forms which no library
// chooses. It keeps the dynamic table as the other side must.
const STATIC = `:authority|;:method|GET;:method|POST;:path|/;:path|/index.html;:scheme|http;:scheme|https;:status|200;:status|204;:status|206;:status|304;:status|400;:status|404;:status|500;accept-charset|;accept-encoding|gzip, deflate;accept-language|;accept-ranges|;accept|;access-control-allow-origin|;age|;allow|;authorization|;cache-control|;content-disposition|;content-encoding|;content-language|;content-length|;content-location|;content-range|;content-type|;cookie|;date|;etag|;expect|;expires|;from|;host|;if-match|;if-modified-since|;if-none-match|;if-range|;if-unmodified-since|;last-modified|;link|;location|;max-forwards|;proxy-authenticate|;proxy-authorization|;range|;referer|;refresh|;retry-after|;server|;set-cookie|;strict-transport-security|;transfer-encoding|;user-agent|;vary|;via|;www-authenticate|`
  .split(';').map((one) => one.split('|'));

// The lengths of the codes of U+0020 to U+007E; the code is canonical, so they are all that is needed. U+0000 is the
// only other symbol that has one of these lengths (13).
const LENGTHS = [
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6,
  ...Array(22).fill(7), 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
];
const CODES = (() => {
  const symbols = [[0, 13], ...LENGTHS.map((length, i) => [i + 32, length])].sort((a, b) => a[1] - b[1] || a[0] - b[0]);
  const codes = [];
  let code = -1, before = symbols[0][1];
  for (const [symbol, length] of symbols) {
    code = (code + 1) * 2 ** (length - before);
    before = length;
    codes[symbol] = [code, length];
  }
  return codes;
})();

export function huffman(text) {
  const bytes = [];
  let bits = 0, count = 0;
  for (const char of text) {
    const [code, length] = CODES[char.charCodeAt(0)];
    for (let i = length - 1; i >= 0; i--) {
      bits = (bits << 1) | ((code >> i) & 1);
      if (++count === 8) {
        bytes.push(bits);
        bits = count = 0;
      }
    }
  }
  if (count > 0) bytes.push(((bits << (8 - count)) | ((1 << (8 - count)) - 1)) & 0xff);
  return Buffer.from(bytes);
}

export function integer(value, prefixBits, first = 0) {
  const most = 2 ** prefixBits - 1;
  if (value < most) return Buffer.from([first | value]);
  const bytes = [first | most];
  value -= most;
  while (value >= 128) {
    bytes.push((value % 128) | 128);
    value = Math.floor(value / 128);
  }
  return Buffer.from([...bytes, value]);
}

export function string(text, coded = false) {
  const bytes = coded ? huffman(text) : Buffer.from(text, 'latin1');
  return Buffer.concat([integer(bytes.length, 7, coded ? 0x80 : 0), bytes]);
}

const PREFIX = { add: [6, 0x40], plain: [4, 0x00], never: [4, 0x10] };

/** Stateless: a literal with both texts. */
export function literal(name, value, { form = 'plain', huffmanName = false, huffmanValue = false } = {}) {
  return Buffer.concat([integer(0, ...PREFIX[form]), string(name, huffmanName), string(value, huffmanValue)]);
}
export const indexed = (index) => integer(index, 7, 0x80);
export const tableSize = (size) => integer(size, 5, 0x20);

export class Hpack {
  constructor() {
    this.table = []; // newest first
    this.most = 4096;
    this.bytes = 0;
  }

  resize(size) {
    this.most = size;
    this.#evict(0);
    return tableSize(size);
  }

  #evict(room) {
    while (this.table.length > 0 && this.bytes + room > this.most) {
      const [name, value] = this.table.pop();
      this.bytes -= name.length + value.length + 32;
    }
  }
  #add(name, value) {
    const bytes = name.length + value.length + 32;
    this.#evict(bytes);
    if (bytes > this.most) return;
    this.table.unshift([name, value]);
    this.bytes += bytes;
  }

  /** `choose` picks one of the ways in which this field can be said: ({indexed, byName, ...}) => way. */
  field(name, value, choose) {
    const at = (index) => (index <= STATIC.length ? STATIC[index - 1] : this.table[index - STATIC.length - 1]);
    const all = Array.from({ length: STATIC.length + this.table.length }, (_, i) => i + 1);
    const whole = all.filter((i) => at(i)[0] === name && at(i)[1] === value);
    const names = all.filter((i) => at(i)[0] === name);
    const way = choose({ whole, names });
    if (way.index !== undefined && whole.includes(way.index)) return indexed(way.index);
    const { form = 'plain' } = way;
    const head = names.includes(way.name)
      ? integer(way.name, ...PREFIX[form])
      : Buffer.concat([integer(0, ...PREFIX[form]), string(name, way.huffmanName)]);
    if (form === 'add') this.#add(name, value);
    return Buffer.concat([head, string(value, way.huffmanValue)]);
  }
}

/** A request's block of literals that no table keeps. */
export function request(path, more = [], { scheme = 'http', method = 'POST', authority = 'localhost' } = {}) {
  const all = [[':method', method], [':scheme', scheme], [':path', path], [':authority', authority], ['content-type', 'application/grpc'], ['te', 'trailers'], ...more];
  return Buffer.concat(all.map(([name, value]) => literal(name, value)));
}
