#include <array>

#include "sim/chips.hpp"

namespace espmint::sim {
namespace {

// SHA-256 of the text of published stubs: of npm esptool-js 0.7.0 (esp-flasher-stub 1.2.2) and of esptool. Since 1.1.0
// they leave blank flash unerased and raise the clock.
constexpr std::array stubs{
    //      SHA-256, name, skips blank erases, raises clock
    StubRow{"37c16091ff165ffe760353a8e92d07f55927e34d01fb5fc04c18b5525c13f8f6", "esp8266 1.2.2", true, true},
    StubRow{"fc5fb606754d152b9b9e4f20c72fdad83d1d99b1b139744bc53cc160b1edd570", "esp32 1.2.2", true, true},
    StubRow{"2f9d78912aabf158d013c6162becdd85967dd4794032012f3600228cddec5ef9", "esp32s2 1.2.2", true, true},
    StubRow{"c37a7d12d52633fd629fbed13f3a7418216af368d8e80f17853ce6de29741374", "esp32s3 1.2.2", true, true},
    StubRow{"69e484070942074e7af2d2c5ea5f90e97b619357d44484dfc84e1d89ae639c8b", "esp32c2 1.2.2", true, true},
    StubRow{"c06cc1a34a02d8f8755692cf89843b388978d19a255b0d9c26b10a0f41a90ffb", "esp32c3 1.2.2", true, true},
    StubRow{"c43fbce8a06d2c793ba657bced32a1af38a1eb5a1d5731eeeef4ee67b301139c", "esp32c5 1.2.2", true, true},
    StubRow{"904a314959d712695b699b08873a428c2080e0ce6dc17ebf7657449ea84383d4", "esp32c6 1.2.2", true, true},
    StubRow{"85f086b45a996d6c2f8e8b7b28ab64db7d5541ef9d8ac2750ceebf13c51fedda", "esp32c61 1.2.2", true, true},
    StubRow{"a177fb52a62156a15f8959f70adacbf02d896c3593f814760b4008ec6df22ee9", "esp32h2 1.2.2", true, true},
    StubRow{"60a6e7036d578f1a7b5e4c78e0f2183643d9d30bb9bedb6f7c4b964a40957bdc", "esp32p4-rev1 1.2.2", true, true},
    StubRow{"16b0c6e425c4ca8dce5a0cc52d1df35b3fc16aa1c6fa5a7512ff9ce1514bbf3d", "esp32p4 1.2.2", true, true},
    StubRow{"3d315cf8155a78db13e4ef90e26b2dc3fd95d7762e1102cdfb663d8f7a7c44d5", "esp8266 1.0.0, of esptool 5.3.1",
            false, false},
    StubRow{"59c217e201a5910c15a0f202f2852c8ea44b7406bbf227e2cd6e88fd6a2a75af", "esp32 1.0.0, of esptool 5.3.1", false,
            false},
    StubRow{"1e7edee974ecae1194882eff73d7b230e89c9db126e2a527ee628f9347b3a7d6", "esp32s2 1.0.0, of esptool 5.3.1",
            false, false},
    StubRow{"d0f85e42389e8f5fba03e47444d9fab43e59c2dcd6649059fb22ab69c54f5cdd", "esp32s3 1.0.0, of esptool 5.3.1",
            false, false},
    StubRow{"12f93e18aab1ec721f5147fb8446f70d468d536692098c0c923328d3c9a6df44", "esp32c2 1.0.0, of esptool 5.3.1",
            false, false},
    StubRow{"3197a9e051fd53da0fe3e39d9aded139e5386f50edfc8af998382b065a173c35", "esp32c3 1.0.0, of esptool 5.3.1",
            false, false},
    StubRow{"c9d36e0d4b45d0d2b45cc33f4e31a460f78cd42a6294a6992ffcfa4cd14f732d", "esp32c5 1.0.0, of esptool 5.3.1",
            false, false},
    StubRow{"9d59894c5e83672666d0331f1358b9fde5614530ac65df22701fbf6817915804", "esp32c6 1.0.0, of esptool 5.3.1",
            false, false},
    StubRow{"7dafaaff511076ecf86fd67a323ea393c8c51ab4f95cda503a0f9c522c123ea5", "esp32c61 1.0.0, of esptool 5.3.1",
            false, false},
    StubRow{"247846ab01cd5d2039b266ceaafaff27ac9911160adc4b2f4b062ead729b6034", "esp32h2 1.0.0, of esptool 5.3.1",
            false, false},
    StubRow{"56e571c4cd05ab2ae0859fe0e93398855f6710141b289b9bed0db3bd74b9cc6e", "esp32p4-rev1 1.0.0, of esptool 5.3.1",
            false, false},
    StubRow{"994233fd1966e1c3175445bebf5c6c6f2862d77b22ce7451466e0f5dc36b1f9b", "esp32p4 1.0.0, of esptool 5.3.1",
            false, false},
    StubRow{"4dd755cefff7947b6a93f3acabcf7bda1b06630d5ad324022a7cfe4f07114ea8", "esp8266, legacy, of esptool 5.2.0",
            false, false},
    StubRow{"b2dff40d626d2e83234ba17f79ab968cf5505cf989d15f9954ed477777eeddad", "esp32, legacy, of esptool 5.2.0",
            false, false},
    StubRow{"e9ceeffe0ef179759c797aaffbc2eb63fc6926adea980ad1d295b8652b2278f3", "esp32s2, legacy, of esptool 5.2.0",
            false, false},
    StubRow{"4f2db4cfaa9938d03537519d95081372f8b833dfcf2ae8fb47fc90425cb853d3", "esp32s3, legacy, of esptool 5.2.0",
            false, false},
    StubRow{"32c1f9e86602ad46f0e48d04c6791699e25d3fd8a9180c7861e135577b20b8b0", "esp32c2, legacy, of esptool 5.2.0",
            false, false},
    StubRow{"857660860ee353699c11c6dfc82d3bfd0bcfa7890c8c9b5fc84f1a551f1f5003", "esp32c3, legacy, of esptool 5.2.0",
            false, false},
    StubRow{"d20a2e10c30b817315e0e651b2cd7e626b32243dffd8246b842c8a2cf7070032", "esp32c5, legacy, of esptool 5.2.0",
            false, false},
    StubRow{"05bd47f6c34739cef5cf9680517cc73c6934cabffc9c3b1b37a68ba445bc5cd3", "esp32c6, legacy, of esptool 5.2.0",
            false, false},
    StubRow{"9cbce15d39a6c63e60efb6a65e3208bb1d33da0e0ad31bfc34e63ec1770b3222", "esp32c61, legacy, of esptool 5.2.0",
            false, false},
    StubRow{"be453f1b44dfd95ef557dab68388db98ebe899ad72fd6b2a9c4583fee470b2c9", "esp32h2, legacy, of esptool 5.2.0",
            false, false},
    StubRow{"c2b6fb9a070b286e851afe5219f55db45372f237bd53d49d5563b60ace62c43e",
            "esp32p4-rev1, legacy, of esptool 5.2.0", false, false},
    StubRow{"7d6c8d75acae8557a3a9da99a05f210d9e22c4a28c307ba8fe3aebd59642cbd2", "esp32p4, legacy, of esptool 5.2.0",
            false, false},
    StubRow{"0914cbde7b50fb4a4648795d83d4181f808a99073640cdcee6e4dfa958855cef", "esp8266, legacy, of esptool 4.8.1",
            false, false},
    StubRow{"c3d3ddfa74e6b41710863f07a2d0496bb6f758a2011bf1d9cdd5b280479db6b9", "esp32, legacy, of esptool 4.8.1",
            false, false},
    StubRow{"3f8ebfc154b61aec48660e0915f81a2f55d0bd6447c391470b8cbb3a69089c4a", "esp32s2, legacy, of esptool 4.8.1",
            false, false},
    StubRow{"14ab7c0beb0520624f7c14f4547f9c42657e651f50c19106cb510477751c8e29", "esp32s3, legacy, of esptool 4.8.1",
            false, false},
    StubRow{"f91869dd16b172cc50071bdd61d028aee1d7effd5788a7107d07c82262a2da8b", "esp32c2, legacy, of esptool 4.8.1",
            false, false},
    StubRow{"9b8c66b2975c18c28464869050541b847e683fe0b5345b3163176ee55c7372f7", "esp32c3, legacy, of esptool 4.8.1",
            false, false},
    StubRow{"aeeb37cf72c8878698508c83d529d8dafe63f16a125f17f6180d24812369b1f5", "esp32c5, legacy, of esptool 4.8.1",
            false, false},
    StubRow{"13945b5c8a9c64fde3d30403e59b03e7238c4e6666f65e246e3491c22f65567b", "esp32c6, legacy, of esptool 4.8.1",
            false, false},
    StubRow{"41a2555947cf019e3aa4d0e5586f4b7765960c1f402d2703e30d9bf87a6daa1f", "esp32c61, legacy, of esptool 4.8.1",
            false, false},
    StubRow{"02ff8d7d7ee61ff524d8e8a8fcb24bcbccb60f198ee9cabd9d0088c89ae3ff28", "esp32h2, legacy, of esptool 4.8.1",
            false, false},
    StubRow{"5d5ca40979ce18827c63aedbf9645c112bb096136ce8d3b0a5e10e4358ad958f", "esp32p4, legacy, of esptool 4.8.1",
            false, false},
};

}  // namespace

const StubRow* known_stub(std::string_view sha256) {
  for (const StubRow& row : stubs)
    if (row.sha256 == sha256) return &row;
  return nullptr;
}

}  // namespace espmint::sim
