package dynamo

// shards is how many partitions the favorites have. It can't change without moving everybody.
const shards = 16

// shardOf gives the shard in which a person lives: FNV-1a of 32 bits, folded to 4 by XOR because its lowest bits see only
// the lowest bits of the text. http://www.isthe.com/chongo/tech/comp/fnv/index.html#xor-fold
func shardOf(person string) int {
	h := uint32(2166136261)
	for i := range len(person) {
		h = (h ^ uint32(person[i])) * 16777619
	}
	h ^= h >> 16
	h ^= h >> 8
	h ^= h >> 4
	return int(h % shards)
}
