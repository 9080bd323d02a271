import { defineConfig } from 'vite'

/** The service that `npm run dev` talks to. */
const service = process.env['HUBBUB_URL'] ?? 'http://127.0.0.1:8000'

export default defineConfig({
  build: {
    outDir: '../../service/hubbub/http/static',
    emptyOutDir: true,
    // The page's content security policy allows no data: addresses.
    assetsInlineLimit: 0,
  },
  server: {
    proxy: {
      '/api': service,
      '/socket.io': { target: service, ws: true },
    },
  },
})
