//! What a name in WGSL can be.

/// Keywords and reserved words (WGSL, 16.1 and 16.2), which no declaration can have as a name.
const RESERVED: &str = "\
    NULL Self abstract active alias alignas alignof as asm asm_fragment async attribute auto await become break case cast \
    catch class co_await co_return co_yield coherent column_major common compile compile_fragment concept const \
    const_assert const_cast consteval constexpr constinit continue continuing crate debugger decltype default delete \
    demote demote_to_helper diagnostic discard do dynamic_cast else enable enum explicit export extends extern external \
    fallthrough false filter final finally fn for friend from fxgroup get goto groupshared highp if impl implements import \
    inline instanceof interface layout let loop lowp macro macro_rules match mediump meta mod module move mut mutable \
    namespace new nil noexcept noinline nointerpolation non_coherent noncoherent noperspective null nullptr of operator \
    override package packoffset partition pass patch pixelfragment precise precision premerge priv protected pub public \
    readonly ref regardless register reinterpret_cast require requires resource restrict return self set shared sizeof \
    smooth snorm static static_assert static_cast std struct subroutine super switch target template this thread_local \
    throw trait true try type typedef typeid typename typeof union unless unorm unsafe unsized use using var varying \
    virtual volatile wgsl where while with writeonly yield";

/// Predeclared types, functions and values: a declaration of the same name would hide them from the rest of a shader.
const PREDECLARED: &str = "\
    abs acos acosh all any array arrayLength asin asinh atan atan2 atanh atomic atomicAdd atomicAnd \
    atomicCompareExchangeWeak atomicExchange atomicLoad atomicMax atomicMin atomicOr atomicStore atomicSub atomicXor \
    bgra8unorm bitcast bool ceil clamp cos cosh countLeadingZeros countOneBits countTrailingZeros cross degrees \
    determinant distance dot dot4I8Packed dot4U8Packed dpdx dpdxCoarse dpdxFine dpdy dpdyCoarse dpdyFine exp exp2 \
    extractBits f16 f32 f64 faceForward firstLeadingBit firstTrailingBit floor fma fract frexp function fwidth \
    fwidthCoarse fwidthFine i32 i64 insertBits inverseSqrt ldexp length log log2 mat2x2 mat2x3 mat2x4 mat3x2 mat3x3 mat3x4 \
    mat4x2 mat4x3 mat4x4 max min mix modf normalize pack2x16float pack2x16snorm pack2x16unorm pack4x8snorm pack4x8unorm \
    pack4xI8 pack4xI8Clamp pack4xU8 pack4xU8Clamp pow private ptr push_constant quadBroadcast quadSwapDiagonal quadSwapX \
    quadSwapY quantizeToF16 r16float r16sint r16snorm r16uint r16unorm r32float r32sint r32uint r64uint r8sint r8snorm \
    r8uint r8unorm radians read read_write reflect refract reverseBits rg11b10ufloat rg16float rg16sint rg16snorm rg16uint \
    rg16unorm rg32float rg32sint rg32uint rg8sint rg8snorm rg8uint rg8unorm rgb10a2uint rgb10a2unorm rgba16float \
    rgba16sint rgba16snorm rgba16uint rgba16unorm rgba32float rgba32sint rgba32uint rgba8sint rgba8snorm rgba8uint \
    rgba8unorm round sampler sampler_comparison saturate select sign sin sinh smoothstep sqrt step storage storageBarrier \
    subgroupAdd subgroupAll subgroupAnd subgroupAny subgroupBallot subgroupBroadcast subgroupBroadcastFirst subgroupElect \
    subgroupExclusiveAdd subgroupExclusiveMul subgroupInclusiveAdd subgroupInclusiveMul subgroupMax subgroupMin \
    subgroupMul subgroupOr subgroupShuffle subgroupShuffleDown subgroupShuffleUp subgroupShuffleXor subgroupXor tan tanh \
    textureBarrier textureDimensions textureGather textureGatherCompare textureLoad textureNumLayers textureNumLevels \
    textureNumSamples textureSample textureSampleBaseClampToEdge textureSampleBias textureSampleCompare \
    textureSampleCompareLevel textureSampleGrad textureSampleLevel textureStore texture_1d texture_2d texture_2d_array \
    texture_3d texture_cube texture_cube_array texture_depth_2d texture_depth_2d_array texture_depth_cube \
    texture_depth_cube_array texture_depth_multisampled_2d texture_external texture_multisampled_2d texture_storage_1d \
    texture_storage_2d texture_storage_2d_array texture_storage_3d transpose trunc u32 u64 uniform unpack2x16float \
    unpack2x16snorm unpack2x16unorm unpack4x8snorm unpack4x8unorm unpack4xI8 unpack4xU8 vec2 vec3 vec4 workgroup \
    workgroupBarrier workgroupUniformLoad write \
    vec2f vec2h vec2i vec2u vec3f vec3h vec3i vec3u vec4f vec4h vec4i vec4u mat2x2f mat2x2h mat2x3f mat2x3h mat2x4f \
    mat2x4h mat3x2f mat3x2h mat3x3f mat3x3h mat3x4f mat3x4h mat4x2f mat4x2h mat4x3f mat4x3h mat4x4f mat4x4h";

/// Whether a declaration can have this name, in ASCII, without a conflict with WGSL itself.
pub(super) fn is_free(name: &str) -> bool {
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name != "_"
        && !name.starts_with("__")
        && !RESERVED.split(' ').chain(PREDECLARED.split(' ')).any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::is_free;

    #[test]
    fn names_are_told_from_words() {
        for name in ["net", "x", "_a", "Net2", "steering_of_a_car", "a_b__c"] {
            assert!(is_free(name), "{name}");
        }
        for name in
            ["", "_", "__net", "2net", "my net", "n-t", "é", "fn", "array", "f32", "exp", "tanh", "vec3f", "std", "a;b"]
        {
            assert!(!is_free(name), "{name}");
        }
    }
}
