import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

/** The service that `npm run dev` talks to. */
const service = process.env['HUBBUB_URL'] ?? 'http://127.0.0.1:8000'

const page = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  build: {
    outDir: '../../service/hubbub/http/static',
    emptyOutDir: true,
    // The page's content security policy allows no data: addresses.
    assetsInlineLimit: 0,
    // Where a browser preloads no modules it fetches them a moment later; that is not worth a piece of each page.
    modulePreload: { polyfill: false },
    rollupOptions: {
      // Two pages: each has what is its own in a file of its own, and shares the rest.
      input: { chat: page('index.html'), admin: page('admin/index.html') },
      output: { chunkFileNames: 'assets/shared-[hash].js' },
    },
  },
  server: {
    proxy: {
      '/api': service,
      '/socket.io': { target: service, ws: true },
    },
  },
})
