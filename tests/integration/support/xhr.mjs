// Enough of XMLHttpRequest for the grpc-web package in Node, over node:http.
import http from 'node:http';
import https from 'node:https';

export function xhrClass(ca) {
  return class XMLHttpRequest {
    readyState = 0;
    status = 0;
    statusText = '';
    responseText = '';
    response = null;
    responseType = '';
    withCredentials = false;
    #headers = {};
    #answer = {};
    #chunks = [];
    open(method, url) {
      this.method = method;
      this.url = new URL(url);
      this.#to(1);
    }
    setRequestHeader(name, value) {
      this.#headers[name] = value;
    }
    getResponseHeader(name) {
      return this.#answer[name.toLowerCase()] ?? null;
    }
    getAllResponseHeaders() {
      return Object.entries(this.#answer).map(([name, value]) => `${name}: ${value}\r\n`).join('');
    }
    send(body) {
      const bytes = body === undefined || body === null ? undefined : typeof body === 'string' ? body : Buffer.from(body.buffer ?? body, body.byteOffset ?? 0, body.byteLength);
      const options = { host: '127.0.0.1', port: this.url.port, path: this.url.pathname, method: this.method, headers: this.#headers, agent: false, ...(ca ? { ca, servername: 'localhost' } : {}) };
      this.sent = (ca ? https : http).request(options, (response) => {
        this.status = response.statusCode;
        this.statusText = response.statusMessage;
        this.#answer = response.headers;
        this.#to(2);
        response.on('data', (chunk) => {
          this.#chunks.push(chunk);
          if (this.responseType !== 'arraybuffer') this.response = this.responseText += chunk.toString('latin1');
          this.#to(3);
        });
        response.on('end', () => {
          const all = Buffer.concat(this.#chunks);
          if (this.responseType === 'arraybuffer') this.response = all.buffer.slice(all.byteOffset, all.byteOffset + all.length);
          this.#to(4);
        });
      });
      this.sent.on('error', () => this.#to(4));
      this.sent.end(bytes);
    }
    abort() {
      this.sent?.destroy();
    }
    #to(state) {
      this.readyState = state;
      this.onreadystatechange?.();
    }
  };
}
