import { describe, expect, it } from 'vitest'
import { idFrom } from '../../src/sync/directory'

describe('the id of a new room', () => {
  it.each([
    ['General', 'general'],
    ['  Café & Küche ', 'cafe-kuche'],
    ['v1.2_beta', 'v1.2_beta'],
    ['日本', ''],
    ['--', ''],
  ])('of %j is %j', (title, id) => {
    expect(idFrom(title)).toBe(id)
  })

  it('fits the form that the service asks for, however long the title', () => {
    expect(idFrom('a-'.repeat(80))).toMatch(/^[a-z0-9][a-z0-9._-]{0,63}$/)
  })
})
